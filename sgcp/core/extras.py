"""Optional dependencies: which extra of the distribution installs a module, and how to say so."""

from importlib.util import find_spec

from sgcp.core.errors import SgcpError

DISTRIBUTION = "sgcpnet"
# Top-level modules by the extra in pyproject.toml that installs them.
MODULES = {
    "pipeline": (
        "torch", "torchvision", "lightning_fabric", "dvc", "scmrepo", "dvclive",
        "cityscapesscripts", "imagecodecs", "pandas", "safetensors", "requests", "appdirs",
        "altair", "vl_convert", "jinja2", "onnx", "scipy",
    ),
    "labelling": ("pycocotools", "contourpy", "shapely"),
    "video": ("av",),
    "onnx": ("onnxruntime",),
    "int8": ("nncf",),
    "demo": ("starlette", "uvicorn"),
    "s3": ("dvc_s3",),
    "ssh": ("dvc_ssh",),
    "benchmark": ("cv2", "segmentation_models_pytorch", "onnxscript", "matplotlib"),
}  # fmt: skip


def install_command(module: str) -> str:
    """Return the command that installs a module: with the extra that it belongs to, if any."""
    extra = next((name for name, modules in MODULES.items() if module in modules), None)
    return f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {module}"


def explain_missing(error: ModuleNotFoundError) -> str | None:
    """Return the message for a missing module of an extra; None for any other module."""
    module = (error.name or "").partition(".")[0]
    if not any(module in modules for modules in MODULES.values()):
        return None
    return f"this command needs {module}, which is not installed. Run `{install_command(module)}`"


def require(module: str, purpose: str) -> None:
    """Raise SgcpError where ``purpose`` needs a module that is not installed."""
    if find_spec(module) is None:
        raise SgcpError(
            f"{purpose} needs {module}, which is not installed. Run `{install_command(module)}`"
        )
