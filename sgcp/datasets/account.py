"""The Cityscapes site's download protocol: log in, list packages, ask for MD5 and file.

The same requests as cityscapesScripts' ``csDownload``, which cannot be called as a library: its
address is fixed, it asks for the password on the terminal and asserts on a refused range.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote

import requests

from sgcp.core.errors import SgcpError
from sgcp.core.files import parse_json, read_text
from sgcp.datasets.fetch import MAX_ANSWER, TIMEOUT, fetch, get_text

USER, PASSWORD = "CITYSCAPES_USERNAME", "CITYSCAPES_PASSWORD"


def credentials_file() -> Path:
    """Return where ``csDownload`` keeps the account."""
    import appdirs

    return Path(appdirs.user_data_dir("cityscapesscripts", "cityscapes"), "credentials.json")


def _read_credentials() -> tuple[str, str]:
    """Return (user, password) from the environment, else from csDownload's file."""
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if user and password:
        return user, password
    path = credentials_file()
    try:
        content = parse_json(read_text(path, MAX_ANSWER))
        return str(content["username"]), str(content["password"])
    except FileNotFoundError:
        raise SgcpError(
            "Cityscapes needs an account. Do one of these, then run the command again:\n"
            "  - register at https://www.cityscapes-dataset.com/register/ and set the variables\n"
            f"    {USER} and {PASSWORD}, or run `csDownload -l` once and let it keep them;\n"
            "  - give archives you have: sgcp download cityscapes "
            "--archive leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip;\n"
            "  - point to an existing folder: sgcp download cityscapes --root DIR "
            "(or CITYSCAPES_DATASET=DIR)"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise SgcpError(
            f"{path}: damaged; delete it and run `csDownload -l`, or set {USER} and {PASSWORD}"
        ) from None


def _log_in(site: str) -> requests.Session:
    user, password = _read_credentials()
    session = requests.Session()
    url = f"{site}/login"
    form = {"username": user, "password": password, "submit": "Login"}
    try:
        get_text(session, url)
        # Streamed: of an answer that matters by its status, no byte need be read.
        answer = session.post(url, form, allow_redirects=False, stream=True, timeout=TIMEOUT)
        answer.close()
        answer.raise_for_status()
    except requests.RequestException as error:
        raise SgcpError(f"{url}: cannot log in ({type(error).__name__}); try again later") from None
    if answer.status_code != requests.codes.found:  # the site redirects after a good log-in
        raise SgcpError(f"{url}: user or password refused for '{user}'; check {USER}, {PASSWORD}")
    return session


def fetch_packages(site: str, names: list[str], folder: Path) -> list[Path]:
    """Download packages by name, resumed and MD5-checked; return their paths."""
    session = _log_in(site)
    paths = []
    try:
        rows = parse_json(get_text(session, f"{site}/downloads/?list"))
        offered = {str(row["name"]): quote(str(row["packageID"])) for row in rows}
        for name in names:
            if name not in offered:
                raise SgcpError(f"{site}: does not offer {name} to this account; ask for access")
            package = f"packageID={offered[name]}"
            md5 = get_text(session, f"{site}/md5-sum/?{package}").split()[0]
            if not re.fullmatch(r"[0-9a-fA-F]{32}", md5):
                raise ValueError(f"{md5[:40]!r} is not an MD5 checksum")
            paths.append(folder / name)
            fetch(session, f"{site}/file-handling/?{package}", paths[-1], md5)
    except (requests.RequestException, KeyError, TypeError, IndexError, ValueError) as error:
        raise SgcpError(f"{site}: unexpected answer ({error}); try again later") from None
    return paths
