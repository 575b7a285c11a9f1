"""What every room needs: files, errors, terminal, parallel work, findings, paths."""
