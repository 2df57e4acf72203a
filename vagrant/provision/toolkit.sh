#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The toolkit from the tree in /toolkit, in a virtual environment of its own, on everybody's
# path. The environment is made again only when what the project depends on has changed: the
# code itself is read from the tree.
set -eu
cd "$(dirname "$0")"
. ./changes.sh

[ "$mode" != here ] || exit 0
environment=/usr/local/lib/toolkit
stamp=$environment/depends-on
depends_on=$(python3 - <<'END'
import hashlib, json, tomllib
with open("/toolkit/pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
parts = ("dependencies", "optional-dependencies", "scripts", "entry-points", "version")
shown = json.dumps({part: project.get(part) for part in parts}, sort_keys=True)
print(hashlib.sha256(shown.encode()).hexdigest())
END
)

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$depends_on" ]; then
  rm -f "$stamp"
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --root-user-action ignore \
    --editable '/toolkit[test]'
  echo "$depends_on" >"$stamp"
  changed "$environment"
fi
for program in invoke toolkit; do
  if [ "$(readlink "/usr/local/bin/$program")" != "$environment/bin/$program" ]; then
    ln -sf "$environment/bin/$program" "/usr/local/bin/$program"
    changed "/usr/local/bin/$program"
  fi
done
