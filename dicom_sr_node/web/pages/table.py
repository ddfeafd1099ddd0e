"""The pages there are: each file of this folder that has a router named `pages`."""

from __future__ import annotations

from dicom_sr_node.web.auth import login
from dicom_sr_node.web.pages import accounts, images, models, now, peers, rules, training

PAGES = (now.pages, images.pages, rules.pages, peers.pages, models.pages, training.pages, accounts.pages, login.pages)
