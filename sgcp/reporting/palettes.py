"""Colours of classes: the official ones, and others that colour-blind readers can tell apart.

Okabe and Ito's eight colours are too few for Cityscapes' 19 classes. The safe ones are chosen
greedily from a grid without near-white: always the colour furthest, in OKLab, from black and from
those chosen before, for trichromats and for three kinds of dichromats. So the first ones of any
number of classes are the most different. ``tests/reporting/test_palettes.py`` checks the distances.
"""

from collections.abc import Sequence

import numpy as np

from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.media.images import UInt8

# Okabe and Ito's colours with a contrast of 3 to 1 on white and on dark pages, for lines and bars.
SERIES = ("#0072b2", "#d55e00", "#009e73")

WRONG = (230, 97, 1)  # where labels differ from the truth

# 254 colours, six hexadecimal digits each. Their least distance, also to black, is 0.110 in OKLab
# for the first 11 and 0.086 for 19; that of the official colours is 0.029 and 0.017.
SAFE = """
    ff22110000ff66004499aaffffbb00994488aa889933009900eeaa7777ff990000ccccffff88557733bbbb55bb
    ffee00228855bbaaaa773355bb2200ccff995533778899cc7755dd55665599ffcc33bb77887788ddcc77770011
    44226699cccc997700224499ff55bbdd44779977dd7799ffbbbbee99aa334400bbaadddd446699dd99886655ff
    bbee776600ddaa44bbbb8855775533664477aaaadd882233ddddffaa664422ddaaccbb88ff77008866dd771155
    99eecc005533eedd00aa1100cc0099cc5599ffaa44cc77ee8888cc557766cc77777744cc991166443322dd0066
    11338800ffaa00bbccbb99993377ccbb00ee5544885522778855aaffcc55ddbb66776644aa55cc4411cc998833
    7711aa6699aa7788aa0099776677aacc0044662266aaff7755446688ffee662244dd99cc9922aa775577337722
    aadd99665544aabbbb88bbffbb55ee88bb66880000447777bb88bbbb4411cc55556644ddff55667799dd552233
    88009955ccdd55442266ddee550077ff9955ff88ff4400aa5533ccaa9911ee3366bbccbb4455aaff55ee991188
    ddaa2277cc99ddeebbcc99bb998888668899ccdd88999988bbaaee88eeeecc11774433558855663366bbccee55
    ddcccceedddd774455bbddbb3344330000ee33aaaaddaaddcc11bbffaa99dd55ee99558855aadd6622bb336677
    bb66bb00cc44ff33aaeebbee5555996688ff0033ff22aa4466bb8866334477aa99dd77dd995533aaee99558822
    aaaa77cccc88bb00ffeeeecc5566aa660088bbbb77dd8855bbdd4477442299cc668800eebb66335588ddccbbff
    994455ddbbcc55dd22ff33ff338888eeccddee6644ddff4455ee5566aa66aa2299cc22eeccaa668877cc66ccaa
    ffbbff7755cc7733220099ccaa224488ff8855119955aa22bbffaaffaaddcceeaaaaee22ee77aaff99995599ee
    77669966994466bbeeaacc77661100aaccdd996666eecc99ff88cc444477779977aaeeddcccc00446666662222
    cc888899bb229988bbaa55dd99ddcc55cc77ddeeffaaffdd88aaaa99ee668866cc88880077ffbb1166ee
"""


def official(classes: Sequence[SemanticClass]) -> UInt8:
    """Return the colours that the dataset publishes, (K, 3) uint8, in order of train id."""
    return np.array([item.color for item in classes], dtype=np.uint8)


def distinct(count: int) -> UInt8:
    """Return up to 254 colours (K, 3) uint8, apart for the colour-blind too, and from black."""
    colors = np.frombuffer(bytes.fromhex("".join(SAFE.split())), dtype=np.uint8)
    return colors.reshape(-1, 3)[:count]


def safe(classes: Sequence[SemanticClass]) -> UInt8:
    """Return ``distinct`` colours (K, 3) in order of train id, like the official: a blue sky."""
    from scipy.optimize import linear_sum_assignment

    colors = distinct(len(classes))
    difference = official(classes).astype(int)[:, None] - colors.astype(int)  # (K, K, 3)
    return colors[linear_sum_assignment(np.square(difference).sum(-1))[1]]


def lookup(colors: UInt8) -> UInt8:
    """Return a table (256, 3) that paints train ids: ``lookup(safe(19))[label]``; 255 is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: min(len(colors), IGNORE)] = colors[:IGNORE]
    return table
