"""What pyproject.toml cannot say: the wheel carries the files of a new project (`sgcp init`)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FILES = ("params.yaml", "dvc.yaml", ".dvcignore", ".dvc/config")
FOLDERS = ("pipeline/classes", "pipeline/datasets", "pipeline/plots", "pipeline/splits")


class BuildWithProject(build_py):
    """Copy the project's files into `sgcp/project`; an editable install reads them in place."""

    def project_files(self):
        """Return their paths."""
        below = (path for name in FOLDERS for path in Path(name).rglob("*"))
        return [*map(Path, FILES), *sorted(path for path in below if path.is_file())]

    def run(self):
        """Build the package, then copy."""
        super().run()
        for path in [] if self.editable_mode else self.project_files():
            target = Path(self.build_lib, "sgcp", "project", path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def get_source_files(self):
        """Return what a source distribution carries."""
        return [*super().get_source_files(), *map(str, self.project_files())]


setup(cmdclass={"build_py": BuildWithProject})
