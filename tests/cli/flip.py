# SPDX-License-Identifier: Apache-2.0
"""flip.py DIR TEXT: changes one bit where TEXT stands first in any file below DIR."""
import os
import sys

found = False
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "r+b") as file:
            at = file.read().find(sys.argv[2].encode())
            if at < 0:
                continue
            found = True
            file.seek(at)
            file.write(bytes([sys.argv[2].encode()[0] ^ 1]))
sys.exit(0 if found else "flip.py: the text is nowhere")
