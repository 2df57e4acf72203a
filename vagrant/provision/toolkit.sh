#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The toolkit from the synced tree, in a virtual environment of its own, on everybody's path.
set -eu
cd /toolkit
python3 -m venv /usr/local/lib/toolkit
/usr/local/lib/toolkit/bin/pip install --quiet --disable-pip-version-check '.[test]'
ln -sf /usr/local/lib/toolkit/bin/invoke /usr/local/lib/toolkit/bin/toolkit /usr/local/bin/
