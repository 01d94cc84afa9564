"""The types of session.proto, generated anew at every start: what is checked in is the contract, not a copy of it."""

import importlib
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parents[3] / "proto"

with tempfile.TemporaryDirectory() as folder:
    arguments = ["protoc", f"-I{PROTOS}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main([*arguments, "undoubt/v1/session.proto"]) != 0:
        sys.exit(f"cannot generate code from {PROTOS}/undoubt/v1/session.proto")
    sys.path.insert(0, folder)
    messages = importlib.import_module("undoubt.v1.session_pb2")
    services = importlib.import_module("undoubt.v1.session_pb2_grpc")
    sys.path.remove(folder)
