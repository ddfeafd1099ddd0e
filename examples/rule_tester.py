"""Which rule takes a file, and what keeps the others from it: python examples/rule_tester.py NODE.toml FILE.dcm"""

import sys
from pathlib import Path

from dicom_sr_node.config.loading import load
from dicom_sr_node.dicom import header
from dicom_sr_node.domain.records import Origin
from dicom_sr_node.rules.routing import in_order, misses

image = header.read(Path(sys.argv[2]), pixels=False)
for rule in in_order(load(Path(sys.argv[1])).rules):
    print(f"{rule.name}: {'; '.join(misses(rule.match, image, Origin())) or 'takes it'}")
