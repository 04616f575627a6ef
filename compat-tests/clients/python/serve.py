"""The driver loop both Python clients share: one JSON request a line in, one JSON answer a line out."""

import base64
import json
import os
import sys
import traceback


def decode(text):
    return None if text is None else base64.b64decode(text)


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def serve(operations):
    """Answers every request by the method of `operations` that is named like its op."""
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            operation = getattr(operations, request["op"])
            answer = {"ok": True, "result": operation(request) or {}}
        except Exception as error:  # the harness decides what an error means
            traceback.print_exc()
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    operations.close()
