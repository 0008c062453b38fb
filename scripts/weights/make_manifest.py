"""Writes weights/manifest.json and weights/categories/*.json: facts about published weight files.

    python3 scripts/weights/make_manifest.py TORCHVISION

TORCHVISION is the `torchvision` folder of an unpacked wheel or of its sources (0.15 or later, which tell the file sizes).
Nothing of it is imported: the records stand in its sources as literals, which are read, so neither torch nor a matching
Python is needed. The CIFAR-10 records are written down here; their source is the README of the repository named below.
"""

import ast
import json
import re
import sys
from functools import partial
from pathlib import Path

FILES = [
    "resnet", "vgg", "mobilenetv2", "mobilenetv3", "alexnet", "squeezenet", "densenet", "googlenet", "inception",
    "efficientnet", "shufflenetv2", "mnasnet", "regnet", "convnext", "vision_transformer",
]

# The defaults of torchvision's transforms/_presets.py, class ImageClassification.
RECIPE = {
    "resize_size": 256,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "interpolation": "bilinear",
    "antialias": True,
}
LICENSE = "https://github.com/pytorch/vision/blob/main/LICENSE"

CIFAR = "https://github.com/akamaster/pytorch_resnet_cifar10"
# depth: (hash in the file's name, parameters, test error in per cent)
CIFAR_RESNETS = {
    20: ("12fca82f", 269722, 8.27),
    32: ("d509ac18", 464154, 7.37),
    44: ("014dd654", 658586, 6.90),
    56: ("4bfd9763", 853018, 6.61),
    110: ("1d1ed7c2", 1727962, 6.32),
}
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class Interpolation:
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


def evaluate(node, names):
    return eval(compile(ast.Expression(node), "torchvision", "eval"), {"__builtins__": {}}, names)


def literals(tree, names):
    """Adds the module's `_COMMON_META = {...}` and the like to `names`."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if all(isinstance(t, ast.Name) and t.id.startswith("_") for t in targets) and isinstance(value, (ast.Dict, ast.List)):
            for target in targets:
                names[target.id] = evaluate(value, names)


def weight_classes(tree, names):
    """Per class `X_Weights`: its entries in order, and the name that DEFAULT stands for."""
    for node in tree.body:
        if not (isinstance(node, ast.ClassDef) and node.name.endswith("_Weights")):
            continue
        entries, default = {}, None
        for item in node.body:
            if not isinstance(item, ast.Assign):
                continue
            name = item.targets[0].id
            if name == "DEFAULT":
                default = item.value.id
            else:
                entries[name] = evaluate(item.value, names)
        yield node.name, entries, default


def builders(tree):
    """The class of the argument `weights` of every registered builder: `resnet50 -> ResNet50_Weights`."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        if not any("register_model" in ast.dump(d) for d in node.decorator_list):
            continue
        for argument in node.args.kwonlyargs + node.args.args:
            if argument.arg == "weights":
                yield re.search(r"(\w+_Weights)", ast.unparse(argument.annotation)).group(1), node.name


def model_options(model, meta):
    """What torchvision's builder sets when it is given the weights."""
    if model.startswith("vit_"):
        # The position embedding fits one image size only; torchvision keeps it as the smallest.
        return {"options": {"imageSize": meta["min_size"][0]}}
    if model in ("googlenet", "inception_v3"):
        # Ported from TensorFlow, whose normalisation differs.
        return {"options": {"transformInput": True}}
    return {}


def record(model, enum, name, weights, default):
    meta = weights["meta"]
    recipe = {**RECIPE, **weights["transforms"].keywords}
    (metrics,) = meta["_metrics"].values()
    # VGG16's IMAGENET1K_FEATURES, for detectors: its classifier is NaN, so it has neither categories nor an accuracy.
    features_only = meta["categories"] is None
    return {
        "model": model,
        "name": name,
        "enum": f"{enum}.{name}",
        "default": name == default,
        "url": weights["url"],
        "sha256": re.search(r"-([0-9a-f]{8,})\.\w+$", weights["url"]).group(1),
        "fileSizeMiB": meta["_file_size"],
        "numClasses": 1000,
        **({"featuresOnly": True} if features_only else {"categories": "imagenet1k"}),
        "numParams": meta["num_params"],
        "gflops": meta["_ops"],
        **({} if features_only else {"accuracy": {"acc1": metrics["acc@1"], "acc5": metrics["acc@5"]}}),
        "transforms": {
            "resize": recipe["resize_size"],
            "crop": recipe["crop_size"],
            "interpolation": recipe["interpolation"],
            "antialias": recipe["antialias"],
            "mean": list(recipe["mean"]),
            "std": list(recipe["std"]),
        },
        **model_options(model, meta),
        "license": meta.get("license", LICENSE),
        "source": meta.get("recipe", "https://github.com/pytorch/vision/tree/main/references/classification"),
    }


def cifar_records():
    for depth, (digest, parameters, error) in CIFAR_RESNETS.items():
        yield {
            "model": f"cifar_resnet{depth}",
            "name": "CIFAR10_V1",
            "enum": f"CifarResNet{depth}_Weights.CIFAR10_V1",
            "default": True,
            "url": f"{CIFAR}/raw/master/pretrained_models/resnet{depth}-{digest}.th",
            "sha256": digest,
            **({"fileSize": 1099231} if depth == 20 else {}),
            "numClasses": 10,
            "categories": "cifar10",
            "numParams": parameters,
            "accuracy": {"acc1": round(100 - error, 2)},
            "transforms": {"resize": 32, "crop": 32, **{k: RECIPE[k] for k in ("interpolation", "antialias", "mean", "std")}},
            "license": f"{CIFAR}/blob/master/LICENSE",
            "source": CIFAR,
        }


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value + "\n", encoding="utf-8")


def main(torchvision, out):
    names = {
        "partial": partial,
        # `partial` wants something to call; only the keywords are read.
        "ImageClassification": dict,
        "InterpolationMode": Interpolation,
        "Weights": lambda **fields: fields,
        "float": float,
    }
    literals(ast.parse((torchvision / "models/_meta.py").read_text(encoding="utf-8")), names)
    records = []
    for file in FILES:
        tree = ast.parse((torchvision / f"models/{file}.py").read_text(encoding="utf-8"))
        scope = dict(names)
        literals(tree, scope)
        model_of = dict(builders(tree))
        for enum, entries, default in weight_classes(tree, scope):
            for name, weights in entries.items():
                assert weights["meta"]["categories"] in (names["_IMAGENET_CATEGORIES"], None), (enum, name)
                records.append(record(model_of[enum], enum, name, weights, default))
    records += cifar_records()
    version = re.search(r"'(\d+\.\d+)[^']*'", (torchvision / "version.py").read_text(encoding="utf-8")).group(1)
    head = {"version": 1, "from": f"torchvision {version}; {CIFAR}"}
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in records)
    write(out / "manifest.json", json.dumps(head)[:-1] + ', "weights": [\n' + lines + "\n]}")
    categories = {"imagenet1k": names["_IMAGENET_CATEGORIES"], "cifar10": CIFAR10_CLASSES}
    for name, values in categories.items():
        write(out / f"categories/{name}.json", "[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in values) + "\n]")
    print(f"{len(records)} records of {len({r['model'] for r in records})} models")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(__file__).resolve().parents[2] / "weights")
