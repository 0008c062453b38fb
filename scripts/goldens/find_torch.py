"""Imported first by the scripts here: goes on in a Python with PyTorch, or says in a line what is missing.

Looked for are the Python that runs the script, the one named by KINDLING_PYTHON and the system's.
"""
import importlib.util
import os
import subprocess
import sys

NEEDED = ('numpy', 'torch', 'torchvision')


def has_torch(python):
    try:
        command = [python, '-c', f'import {", ".join(NEEDED)}']
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


if any(importlib.util.find_spec(name) is None for name in NEEDED):
    for candidate in (os.environ.get('KINDLING_PYTHON'), '/usr/bin/python3'):
        if candidate and candidate != sys.executable and has_torch(candidate):
            sys.stdout.flush()
            os.execv(candidate, [candidate, *sys.argv])
    raise SystemExit(
        'no Python with PyTorch: run apt-get install -y --no-install-recommends python3-torch '
        'python3-torchvision, or name one in KINDLING_PYTHON'
    )
