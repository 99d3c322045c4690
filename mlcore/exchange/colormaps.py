"""Colour maps for attention: 256 colours each, the same in the browser (static/js/colormaps.js).

cividis: Nuñez, Anderton, Renslow, PLOS ONE 13 (2018), the same to people with and without colour blindness.
magma: Nathaniel Smith and Stéfan van der Walt, released as CC0. Both tables were written out once from matplotlib
(its licence is BSD-compatible); a test holds them to it.
"reds" goes evenly from white to red, as HARMONY's people saw it.
Maps with a sign take "rdbu": Cynthia Brewer's RdBu of eleven colours (ColorBrewer 2.0) with pure white for zero, red
for what speaks for the class and blue for what speaks against it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CIVIDIS = (
    "00224d00234f00235000245200255400265500265700275900285b00285c00295e002a60002a62002b64002c66002c67"
    "002d69002e6b002f6d002f6f0030700030700031700031700432700833700b33700e347011356f14366f16366f18376f"
    "1a386f1c386e1d396e1f3a6e213b6e223b6e243c6e253d6d273d6d283e6d2a3f6d2b3f6d2c406d2e416c2f426c30426c"
    "31436c32446c34446c35456c36466c37466c38476c39486c3a486b3b496b3d4a6b3e4b6b3f4b6b404c6b414d6b424d6b"
    "434e6b444f6b454f6b46506b47516b48516b49526b4a536b4b546c4c546c4d556c4e566c4e566c4f576c50586c51586c"
    "52596c535a6c545a6c555b6d565c6d575d6d585d6d595e6d595f6d5a5f6d5b606e5c616e5d616e5e626e5f636e60646e"
    "61646f61656f62666f63666f64676f656870666970676970686a70686b71696b716a6c716b6d716c6d726d6e726e6f72"
    "6e70736f70737071737172737273747373747474757475757575757676767777767878767978777979777a7a777b7b77"
    "7c7b787d7c787e7d787f7d78807e78817f788280788380788481788582788583788683788784788885788986788a8678"
    "8b87788c88788d89788e89788f8a77908b77918c77928c77938d77948e77958f77968f779790769891769992769a9376"
    "9b93769c94769d95759e96759f9675a09775a19874a29974a39a74a49a74a59b73a69c73a79d73a89e73a99e72aa9f72"
    "aba072aca171ada271aea271afa370b0a470b1a570b2a66fb3a66fb4a76fb5a86eb6a96eb7aa6db8ab6db9ab6dbaac6c"
    "bbad6cbcae6bbdaf6bbeb06abfb06ac1b169c2b269c3b368c4b468c5b567c6b567c7b666c8b765c9b865cab964cbba64"
    "ccbb63cdbc62cebc62cfbd61d0be60d2bf60d3c05fd4c15ed5c25ed6c35dd7c35cd8c45bd9c55adac65adbc759dcc858"
    "dec957dfca56e0cb55e1cc54e2cc53e3cd52e4ce51e5cf50e6d04fe8d14ee9d24dead34cebd44becd54aedd648eed747"
    "efd846f1d944f2da43f3da42f4db40f5dc3ff6dd3df8de3bf9df3afae038fbe136fde234fde333fde534fde636fde737"
)
_MAGMA = (
    "00000300000400000601000701010901010b02020d02020f03031104031304041505041706051907051b08061d09071f"
    "0a07220b08240c09260d0a280e0a2a0f0b2c100c2f110c31120d33140d35150e38160e3a170f3c180f3f1a10411b1044"
    "1c10461e10491f114b20114d2211502311522511552611572811592a115c2b115e2d10602f1062301065321067341068"
    "350f6a370f6c390f6e3b0f6f3c0f713e0f72400f73420f74430f75450f76470f774810784a10794b10794d117a4f117b"
    "50127b52127c53137c55137d57147d58157e5a157e5b167e5d177e5e177f60187f61187f63197f651a80661a80681b80"
    "691c806b1c806c1d806e1e816f1e81711f81731f817420817621817721817922817a22817c23817e24817f2481812581"
    "8225818426818526818727818928818a28818c29808d29808f2a80912a80922b80942b80952c80972c7f992d7f9a2d7f"
    "9c2e7f9e2e7e9f2f7ea12f7ea3307ea4307da6317da7317da9327cab337cac337bae347bb0347bb1357ab3357ab53679"
    "b63679b83778b93778bb3877bd3977be3976c03a75c23a75c33b74c53c74c63c73c83d72ca3e72cb3e71cd3f70ce4070"
    "d0416fd1426ed3426dd4436dd6446cd7456bd9466ada4769dc4869dd4968de4a67e04b66e14c66e24d65e44e64e55063"
    "e65162e75262e85461ea5560eb5660ec585fed595fee5b5eee5d5def5e5df0605df1615cf2635cf3655cf3675bf4685b"
    "f56a5bf56c5bf66e5bf6705bf7715bf7735cf8755cf8775cf9795cf97b5df97d5dfa7f5efa805efa825ffb8460fb8660"
    "fb8861fb8a62fc8c63fc8e63fc9064fc9265fc9366fd9567fd9768fd9969fd9b6afd9d6bfd9f6cfda16efda26ffda470"
    "fea671fea873feaa74feac75feae76feaf78feb179feb37bfeb57cfeb77dfeb97ffebb80febc82febe83fec085fec286"
    "fec488fec689fec78bfec98dfecb8efdcd90fdcf92fdd193fdd295fdd497fdd698fdd89afdda9cfddc9dfddd9ffddfa1"
    "fde1a3fce3a5fce5a6fce6a8fce8aafceaacfcecaefceeb0fcf0b1fcf1b3fcf3b5fcf5b7fbf7b9fbf9bbfbfabdfbfcbf"
)


def _table(digits: str) -> NDArray[np.uint8]:
    table = np.frombuffer(bytes.fromhex(digits), dtype=np.uint8).reshape(256, 3)
    table.flags.writeable = False
    return table


def _diverging(anchors: str) -> NDArray[np.uint8]:
    """Place 128 is the middle colour exactly; 1 and 255 are the ends, and 0 is as 1."""
    colours = np.frombuffer(bytes.fromhex(anchors), dtype=np.uint8).reshape(-1, 3).astype(float)
    places = np.linspace(1, 255, len(colours))
    table = np.stack([np.interp(np.arange(256), places, colours[:, c]) for c in range(3)], axis=1)
    made = np.rint(table).astype(np.uint8)
    made.flags.writeable = False
    return made


def _reds() -> NDArray[np.uint8]:
    table = np.repeat(np.arange(255, -1, -1, dtype=np.uint8)[:, None], 3, axis=1)
    table[:, 0] = 255
    table.flags.writeable = False
    return table


# name → (256, 3) uint8, RGB
COLORMAPS: dict[str, NDArray[np.uint8]] = {"cividis": _table(_CIVIDIS), "magma": _table(_MAGMA), "reds": _reds()}
# The map of colours for values in [−1, 1]: place 128 + 127·value.
SIGNED = "rdbu"
DIVERGING = _diverging("0530612166ac4393c392c5ded1e5f0fffffffddbc7f4a582d6604db2182b67001f")
