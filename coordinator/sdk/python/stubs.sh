#!/usr/bin/env bash
# Makes the types of session.proto for undoubt.session anew: into the package, or into the folder that is named.
# They are checked in, so that the package is built and read without a compiler and outside of the checkout; a test holds them to the proto.
set -euo pipefail
cd "$(dirname "$0")"
into="${1:-src/undoubt/session}"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
# By the name under which others make them as well: two files of one name and content may meet in a process.
"${PYTHON:-python}" -m grpc_tools.protoc -I../../../proto --python_out="$made" --pyi_out="$made" undoubt/v1/session.proto
cp "$made"/undoubt/v1/session_pb2.py "$made"/undoubt/v1/session_pb2.pyi "$into"
