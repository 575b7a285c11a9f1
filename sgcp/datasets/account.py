"""The Cityscapes site's download protocol: log in, list packages, ask for MD5 and file.

The same requests as cityscapesScripts' ``csDownload``, which cannot be called as a library: its
address is fixed, it asks for the password on the terminal and asserts on a refused range.
"""

import json
import os
from pathlib import Path

import requests

from sgcp.datasets.fetch import TIMEOUT, fetch
from sgcp.errors import SgcpError

USER, PASSWORD = "CITYSCAPES_USERNAME", "CITYSCAPES_PASSWORD"


def credentials_file() -> Path:
    """Return where ``csDownload`` keeps the account."""
    import appdirs

    return Path(appdirs.user_data_dir("cityscapesscripts", "cityscapes"), "credentials.json")


def read_credentials() -> tuple[str, str]:
    """Return (user, password) from the environment, else from csDownload's file.

    Raises:
        SgcpError: there are none, or the file is damaged; the message says what to do.
    """
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if user and password:
        return user, password
    path = credentials_file()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
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
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        raise SgcpError(
            f"{path}: damaged; delete it and run `csDownload -l`, or set {USER} and {PASSWORD}"
        ) from None


def log_in(site: str) -> requests.Session:
    """Open a session on the site.

    Raises:
        SgcpError: the site cannot be reached, or refuses user and password.
    """
    user, password = read_credentials()
    session = requests.Session()
    url = f"{site}/login"
    form = {"username": user, "password": password, "submit": "Login"}
    try:
        session.get(url, allow_redirects=False, timeout=TIMEOUT).raise_for_status()
        answer = session.post(url, data=form, allow_redirects=False, timeout=TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise SgcpError(f"{url}: cannot log in ({type(error).__name__}); try again later") from None
    if answer.status_code != requests.codes.found:  # the site redirects after a good log-in
        raise SgcpError(f"{url}: user or password refused for '{user}'; check {USER}, {PASSWORD}")
    return session


def fetch_packages(site: str, names: list[str], folder: Path) -> list[Path]:
    """Download packages by name, resumed and MD5-checked; return their paths.

    Raises:
        SgcpError: no credentials, refused, a package not offered to this account, wrong checksum.
    """
    session = log_in(site)
    try:
        answer = session.get(f"{site}/downloads/?list", allow_redirects=False, timeout=TIMEOUT)
        answer.raise_for_status()
        offered = {str(row["name"]): str(row["packageID"]) for row in answer.json()}
        paths = []
        for name in names:
            if name not in offered:
                raise SgcpError(f"{site}: does not offer {name} to this account; ask for access")
            package = f"packageID={offered[name]}"
            md5 = session.get(f"{site}/md5-sum/?{package}", allow_redirects=False, timeout=TIMEOUT)
            md5.raise_for_status()
            paths.append(folder / name)
            fetch(session, f"{site}/file-handling/?{package}", paths[-1], md5.text.split()[0])
    except (requests.RequestException, KeyError, TypeError, IndexError) as error:
        raise SgcpError(f"{site}: unexpected answer ({error}); try again later") from None
    return paths
