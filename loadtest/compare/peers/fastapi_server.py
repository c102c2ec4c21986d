"""FastAPI by hand: the Open Inference Protocol, read and written with orjson; uvicorn with uvloop and httptools.

The body is parsed by hand and not through a pydantic model, which is what people do once they look for speed.
"""

import orjson
from fastapi import FastAPI, Request, Response

import shared_model as model

session = model.open_session()
app = FastAPI()


@app.post(f"/v2/models/{model.NAME}/infer")
async def infer(request: Request):
    features = orjson.loads(await request.body())["inputs"][0]
    labels, probabilities = model.infer(session, model.float_rows(features["data"]).reshape(features["shape"]))
    answer = {
        "model_name": model.NAME,
        "model_version": model.VERSION,
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": labels.shape, "data": labels},
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": probabilities.shape,
                "data": probabilities.ravel(),
            },
        ],
    }
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
