"""Table of modules in the documentation, written anew."""

from tests.gossipfl.training.zoo import DOCUMENT, document

DOCUMENT.write_text(document(), encoding="utf-8")
