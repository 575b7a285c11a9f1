"""One module a stage, named as the stage: the only code that knows paths."""
