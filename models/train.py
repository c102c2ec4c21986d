#!/usr/bin/env python3
"""Trains every model of this folder and writes it in the layout that the gateway serves.

    python models/train.py [--out DIR] [--tidegate COMMAND] [--only MODEL] [--no-profile]

Plain graphs (breast-cancer, digits, churn) are written node by node instead of being converted, because a
converter turns scikit-learn's steps into operators of the ai.onnx.ml domain, and the gateway's embedded engine runs
plain tensor operators only. diabetes is converted on purpose: it is the model that needs ONNX Runtime.

Invariant: a version is written only if ONNX Runtime's answers equal scikit-learn's for every held-out row, and a
rerun on the same machine writes the same bytes. The script is one file, as a module beside it would leave a
__pycache__ folder in what is a model repository.
"""

import os

# One thread: sums taken in another order would change the last bits of the weights. Set before numpy loads.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn import datasets
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
MODELS = ("breast-cancer", "digits", "diabetes", "churn")
CHURN_ROWS, CHURN_HELD_OUT, CHURN_WRITTEN = 60_000, 6_000, 500
CHURN_CATEGORIES = {"plan": 4, "region": 6}
SEED = 7
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
SIZE_LIMIT = 100_000
PROBABILITY_TOLERANCE, VALUE_TOLERANCE = 1e-5, 1e-4


@dataclass
class Data:
    """Rows for one model. Features hold float32 values in float64 arrays: scikit-learn computes in double precision
    on exactly the numbers that a client sends."""

    names: list[str]
    train: np.ndarray
    train_target: np.ndarray
    held_out: np.ndarray
    held_out_target: np.ndarray
    categorical: list[str] = field(default_factory=list)
    written_rows: int | None = None  # How many held-out rows go to heldout.csv; None means all of them.


def split(names, rows, target, held_out, **more):
    """Splits rows by the fixed seed; classes keep their shares."""
    rows = np.asarray(rows, dtype=np.float32).astype(np.float64)
    stratify = target if np.issubdtype(target.dtype, np.integer) else None
    parts = train_test_split(rows, target, test_size=held_out, random_state=SEED, stratify=stratify)
    train, test, train_target, test_target = parts
    names = [name.replace(" ", "_") for name in names]
    return Data(names, train, train_target, test, test_target, **more)


def shipped(loader, held_out, **options):
    """A data set that scikit-learn ships."""
    bunch = loader(**options)
    target = bunch.target.astype(np.int64) if hasattr(bunch, "target_names") else bunch.target.astype(np.float64)
    return split(bunch.feature_names, bunch.data, target, held_out)


def churn_data(tidegate):
    """Customers from the gateway's own generator, whose documentation describes the population."""
    command = [*tidegate, "draws", "--rows", str(CHURN_ROWS), "--seed", str(SEED), "--with-label"]
    print(f"  rows from: {shlex.join(command)}", flush=True)
    lines = run(command).splitlines()
    names = lines[0].split(",")
    if names[-1] != "churned" or len(lines) != CHURN_ROWS + 1:
        sys.exit(f"expected {CHURN_ROWS} rows and a last column `churned`, got {len(lines) - 1} and `{names[-1]}`")
    table = np.loadtxt(lines, delimiter=",", skiprows=1, dtype=np.float32)
    more = {"categorical": list(CHURN_CATEGORIES), "written_rows": CHURN_WRITTEN}
    return split(names[:-1], table[:, :-1], table[:, -1].astype(np.int64), CHURN_HELD_OUT, **more)


def runtime_library():
    """The shared library inside the onnxruntime package of this Python, so that the gateway runs what this script ran."""
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.*"))
    return str(libraries[0]) if libraries else os.environ.get("ORT_DYLIB_PATH", "")


def run(command):
    """Standard output of a command run at the repository's root; ends the script when it fails."""
    environment = {**os.environ, "ORT_DYLIB_PATH": runtime_library()}
    try:
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"`{shlex.join(command)}` failed: {error}")


class Graph:
    """A plain tensor graph under construction: every method adds one node and returns the name of its output."""

    def __init__(self, inputs):
        self.width, self.nodes, self.constants = inputs, [], []

    def constant(self, values, dtype=np.float32):
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name))
        return name

    def node(self, operator, *inputs, output=None, **attributes):
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def standardize(self, rows, scaler):
        """(rows - mean) / scale; the reciprocal is taken in double precision, before rounding to float32."""
        centred = self.node("Sub", rows, self.constant(scaler.mean_))
        return self.node("Mul", centred, self.constant(1.0 / scaler.scale_))

    def dense(self, rows, weights, bias):
        product = self.node("MatMul", rows, self.constant(weights))
        return self.node("Add", product, self.constant(bias))

    def one_hot(self, rows, column, codes):
        """[N, codes]: 1 where the column holds the code; a code never seen gives zeros, as scikit-learn's encoder
        does when told to ignore it."""
        values = self.node("Gather", rows, self.constant([column], np.int64), axis=1)
        return self.node("Cast", self.node("Equal", values, self.constant(codes)), to=TensorProto.FLOAT)

    def classify(self, rows, weights, bias):
        """The last layer. For two classes scikit-learn has one logit z; its mirror image -z becomes the first column,
        so that both probabilities come from a sigmoid and neither loses digits to `1 - p`."""
        if weights.shape[1] == 1:
            weights, bias = np.hstack([-weights, weights]), np.concatenate([-bias, bias])
            logits = self.dense(rows, weights, bias)
            probabilities = self.node("Sigmoid", logits, output="probabilities")
        else:
            logits = self.dense(rows, weights, bias)
            probabilities = self.node("Softmax", logits, axis=1, output="probabilities")
        # From the logits: far out, two probabilities may round to the same float32.
        self.node("ArgMax", logits, axis=1, keepdims=0, output="label")
        return self.model(bias.shape[0])

    def model(self, classes):
        inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", self.width])]
        outputs = [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]),
        ]
        graph = helper.make_graph(self.nodes, "plain", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])


def add_classifier(graph, rows, classifier):
    """Adds a fitted LogisticRegression or MLPClassifier (relu) and closes the graph."""
    if isinstance(classifier, LogisticRegression):
        return graph.classify(rows, classifier.coef_.T, classifier.intercept_)
    for weights, bias in zip(classifier.coefs_[:-1], classifier.intercepts_[:-1]):
        rows = graph.node("Relu", graph.dense(rows, weights, bias))
    return graph.classify(rows, classifier.coefs_[-1], classifier.intercepts_[-1])


def export_scaled(pipeline, data):
    """Plain graph of StandardScaler and a classifier."""
    graph = Graph(len(data.names))
    return add_classifier(graph, graph.standardize("features", pipeline[0]), pipeline[1])


def export_digits(pipeline, data):
    """Plain graph of a division by 16 and a classifier."""
    graph = Graph(len(data.names))
    return add_classifier(graph, graph.node("Mul", "features", graph.constant(1 / 16)), pipeline[1])


def export_churn(pipeline, data):
    """Plain graph of scaled numbers beside one-hot codes and a classifier."""
    graph = Graph(len(data.names))
    _, scaler, columns = pipeline[0].transformers_[0]
    numbers = graph.node("Gather", "features", graph.constant(columns, np.int64), axis=1)
    parts = [graph.standardize(numbers, scaler)]
    for name, encoder, (column,) in pipeline[0].transformers_[1:]:
        parts.append(graph.one_hot("features", column, encoder.categories_[0]))
    return add_classifier(graph, graph.node("Concat", *parts, axis=1), pipeline[1])


def export_converted(pipeline, data):
    """skl2onnx's graph, which uses the ai.onnx.ml operators Scaler and TreeEnsembleRegressor."""
    model = convert_sklearn(
        pipeline,
        name="converted",
        initial_types=[("features", FloatTensorType([None, len(data.names)]))],
        final_types=[("value", FloatTensorType([None, 1]))],
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
    )
    # The converter lists the domains in a set's order, which changes from run to run.
    domains = sorted(model.opset_import, key=lambda domain: domain.domain)
    del model.opset_import[:]
    model.opset_import.extend(domains)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "N"
    return model


def off_grid(rows):
    """Rows moved up by a quarter of each column's resolution (ages are whole years, so by a quarter of a year).

    A tree puts its thresholds half-way between training values, where values of other rows may lie exactly, and then
    the last bit of float32 decides the branch. Trees fitted on moved rows branch alike on every row that was recorded
    at that resolution, but no such row lies on a threshold."""
    moved = rows.copy()
    for column in moved.T:
        decimals = next(d for d in range(7) if np.allclose(column, np.round(column, d), rtol=1e-6, atol=0))
        column += 10.0**-decimals / 4
    return moved


def churn_encoder(data):
    """Standardized numbers, then one column per code of each category."""
    numbers = [index for index, name in enumerate(data.names) if name not in data.categorical]
    steps = [("numbers", StandardScaler(), numbers)]
    for name, codes in CHURN_CATEGORIES.items():
        one_hot = OneHotEncoder(categories=[np.arange(float(codes))], handle_unknown="ignore", sparse_output=False)
        steps.append((name, one_hot, [data.names.index(name)]))
    return ColumnTransformer(steps)


def versions(model, data):
    """The model's pipelines, unfitted, by version, each with what writes it as ONNX and what it is in a few words."""
    if model == "breast-cancer":
        network = MLPClassifier((64,), alpha=1.0, max_iter=500, random_state=SEED)
        return {
            "1": (make_pipeline(StandardScaler(), LogisticRegression()), export_scaled, "logistic regression"),
            "2": (make_pipeline(StandardScaler(), network), export_scaled, "neural network, 64 hidden units"),
        }
    if model == "digits":
        network = MLPClassifier((64,), alpha=0.1, max_iter=500, random_state=SEED)
        pipeline = make_pipeline(FunctionTransformer(lambda rows: rows / 16), network)
        return {"1": (pipeline, export_digits, "neural network, 64 hidden units")}
    if model == "diabetes":
        trees = GradientBoostingRegressor(
            n_estimators=100, max_depth=2, learning_rate=0.08, subsample=0.7, min_samples_leaf=10, random_state=SEED
        )
        return {"1": (make_pipeline(StandardScaler(), trees), export_converted, "gradient boosting, 100 trees")}
    # Large batches and small steps: the last steps' noise would otherwise move the mean probability by two points.
    network = MLPClassifier(
        (32, 16),
        alpha=0.3,
        batch_size=1000,
        learning_rate_init=3e-4,
        max_iter=200,
        n_iter_no_change=5,
        random_state=SEED,
    )
    return {
        "1": (make_pipeline(churn_encoder(data), LogisticRegression()), export_churn, "logistic regression"),
        "2": (make_pipeline(churn_encoder(data), network), export_churn, "neural network, 32 and 16 hidden units"),
    }


def answers(pipeline, rows):
    """scikit-learn's answers: the header of expected.csv and one row of numbers per input row."""
    if not is_classifier(pipeline):
        return ["value"], pipeline.predict(rows)[:, np.newaxis]
    probabilities = pipeline.predict_proba(rows)
    names = [f"probabilities_{index}" for index in range(probabilities.shape[1])]
    return ["label", *names], np.column_stack([pipeline.predict(rows), probabilities])


def compare(content, rows, expected):
    """Ends the script unless ONNX Runtime answers as scikit-learn does, also row by row; returns the largest
    difference: of probabilities absolute, of values relative."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    rows = rows.astype(np.float32)
    batch = session.run(None, {"features": rows})
    single = [session.run(None, {"features": row[np.newaxis]}) for row in rows[:50]]
    alone = [np.concatenate(parts) for parts in zip(*single)]
    worst = 0.0
    for got, want in ((batch, expected), (alone, expected[:50])):
        if len(got) == 1:
            if got[0].shape != want.shape:
                sys.exit(f"answers have shape {got[0].shape}, expected {want.shape}")
            difference, tolerance = np.abs(got[0] / want - 1.0), VALUE_TOLERANCE
        else:
            if not np.array_equal(got[0], want[:, 0]):
                sys.exit(f"{np.sum(got[0] != want[:, 0])} of {len(want)} labels are not scikit-learn's")
            difference, tolerance = np.abs(got[1] - want[:, 1:]), PROBABILITY_TOLERANCE
        worst = max(worst, float(difference.max()))
        if not worst <= tolerance:
            sys.exit(f"an answer is {worst:.2e} from scikit-learn's, more than {tolerance:.0e}")
    return worst


def quality(expected, data):
    """How good the answers are on held-out rows, beside what a constant answer would score."""
    target = data.held_out_target
    if expected.shape[1] == 1:
        baseline = r2_score(target, np.full(len(target), data.train_target.mean()))
        return f"R2 {r2_score(target, expected[:, 0]):.3f} (mean of the training rows: {baseline:.3f})"
    majority = np.bincount(data.train_target).argmax()
    text = f"accuracy {accuracy_score(target, expected[:, 0]):.4f} (majority class: {np.mean(target == majority):.4f})"
    if expected.shape[1] > 3:
        return text
    return f"{text}, AUC {roc_auc_score(target, expected[:, 2]):.4f} (constant: 0.5)"


def float32_text(value):
    """The shortest decimal that reads back as the same float32."""
    return np.format_float_positional(np.float32(value), unique=True, trim="-")


def write_csv(path, names, rows, text):
    lines = [",".join(names), *(",".join(text(name, value) for name, value in zip(names, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_features(path, names, rows):
    write_csv(path, names, rows, lambda _, value: float32_text(value))


def write_expected(path, names, rows):
    write_csv(path, names, rows, lambda name, value: str(int(value)) if name == "label" else repr(float(value)))


def serialized(model, description):
    """The model's bytes: valid, small, and the same on every run."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "tidegate models/train.py", "1"
    model.doc_string = description
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    if len(content) > SIZE_LIMIT:
        sys.exit(f"the model has {len(content)} bytes, more than {SIZE_LIMIT}")
    return content


def write_model(directory, content):
    """Writes the bytes unless they are there already, and removes a profile that described others."""
    path = directory / "model.onnx"
    if path.exists() and path.read_bytes() == content:
        return
    directory.mkdir(parents=True, exist_ok=True)
    path.with_name("profile.json").unlink(missing_ok=True)
    path.write_bytes(content)


def write_profile(tidegate, directory, data):
    """Has the gateway summarise the training rows as the version's reference profile."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch) / "rows.csv"
        write_features(rows, data.names, data.train)
        command = [*tidegate, "profile", "--model", str(directory), "--data", str(rows)]
        if data.categorical:
            command += ["--categorical", ",".join(data.categorical)]
        print(f"    profile: {shlex.join(command)}", flush=True)
        run(command)


def train_version(model, version, data, out):
    """Fits, exports, writes and checks one version; returns its directory."""
    pipeline, export, description = versions(model, data)[version]
    print(f"  version {version}: {description}", flush=True)
    pipeline.fit(off_grid(data.train) if export is export_converted else data.train, data.train_target)
    names, expected = answers(pipeline, data.held_out)
    directory = out / model / version
    description = f"{model} version {version}: {description} on {', '.join(data.names)}"
    content = serialized(export(pipeline, data), description)
    worst = compare(content, data.held_out, expected)
    write_model(directory, content)
    write_expected(directory / "expected.csv", names, expected[: data.written_rows])
    print(f"    {quality(expected, data)}")
    print(f"    model.onnx: {len(content)} bytes; within {worst:.1e} of scikit-learn on {len(expected)} rows")
    return directory


def load(model, tidegate):
    if model == "churn":
        return churn_data(tidegate)
    if model == "breast-cancer":
        return shipped(datasets.load_breast_cancer, 0.25)
    if model == "digits":
        return shipped(datasets.load_digits, 0.25)
    return shipped(datasets.load_diabetes, 0.25, scaled=False)


def main():
    parser = argparse.ArgumentParser(description="Trains the models and writes them in the layout the gateway serves.")
    parser.add_argument("--out", type=Path, default=HERE, help="where to write (default: the script's folder)")
    parser.add_argument(
        "--tidegate",
        default="cargo run --release --",
        metavar="COMMAND",
        help="how to run the gateway, from the repository's root (default: %(default)s)",
    )
    parser.add_argument("--only", choices=MODELS, help="train this model alone")
    parser.add_argument("--no-profile", action="store_true", help="write no profile.json")
    options = parser.parse_args()
    tidegate, out = shlex.split(options.tidegate), options.out.resolve()
    for model in [options.only] if options.only else MODELS:
        print(f"{model}", flush=True)
        data = load(model, tidegate)
        print(f"  {len(data.train)} training rows, {len(data.held_out)} held out, {len(data.names)} features")
        for version in versions(model, data):
            directory = train_version(model, version, data, out)
            if not options.no_profile:
                write_profile(tidegate, directory, data)
        write_features(out / model / "heldout.csv", data.names, data.held_out[: data.written_rows])


if __name__ == "__main__":
    main()
