"""How often river's detectors call drift on streams without any.

    python river_detectors.py STREAM.f32 ROWS_FOR_KSWIN

The file holds little-endian float32 values, one stream after the other. Prints JSON: for each detector the rows it saw
and the times it called drift, with its defaults. KSWIN takes about half a millisecond a row, so it sees fewer.
"""

import array
import json
import sys

from river import drift


def calls(detector, values):
    count = 0
    for value in values:
        detector.update(value)
        count += detector.drift_detected
    return {"rows": len(values), "calls": count}


if __name__ == "__main__":
    stream = array.array("f")
    with open(sys.argv[1], "rb") as file:
        stream.frombytes(file.read())
    json.dump(
        {"ADWIN": calls(drift.ADWIN(), stream), "KSWIN": calls(drift.KSWIN(seed=1), stream[: int(sys.argv[2])])},
        sys.stdout,
    )
