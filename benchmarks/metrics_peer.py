"""Seconds of CPU time of pixel AUROC and of AUPRO, anomalib."""

from types import SimpleNamespace

import torch
from anomalib.metrics import AUPRO, AUROC
from metrics_ours import FPR_LIMIT, KINDS, MAPS, SIDE_PX, make_batches, measure
from worker import read_options, report

FIELDS = ["anomaly_map", "gt_mask"]


def main() -> None:
    """Measure both figures on both kinds of maps, which are tensors already."""
    read_options()
    figures, values = {}, {}
    for kind in KINDS:
        batches = [
            SimpleNamespace(anomaly_map=torch.from_numpy(maps), gt_mask=torch.from_numpy(masks))
            for maps, masks in make_batches(kind)
        ]
        for name, figure in (
            ("AUROC", lambda batches: _compute(AUROC(fields=FIELDS), batches)),
            ("AUPRO", lambda batches: _compute(AUPRO(fields=FIELDS, fpr_limit=FPR_LIMIT), batches)),
        ):
            key = f"{name}, {kind} maps"
            figures[key], values[key] = measure(figure, batches, repeats=1)
    report(figures, values=values, maps=MAPS, side_px=SIDE_PX)


def _compute(metric: AUROC | AUPRO, batches: list[SimpleNamespace]) -> float:
    for batch in batches:
        metric.update(batch)
    return float(metric.compute())


if __name__ == "__main__":
    main()
