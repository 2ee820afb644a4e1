#!/usr/bin/env bash
# Make this folder again. Run it from a clone at commit 660db1a in which `make install` has ended.
# It leaves what belongs here in /data/run, a path that the files then name.
set -euo pipefail
clone=$PWD run=/data/run
rm -rf $run && mkdir -p $run && cp "$(dirname "$0")/tiny.yaml" $run && cd $run
"$clone/.venv/bin/python" -m dreamerv3 --configs vid2act metaworld quickstart ./tiny.yaml --logdir $run/logdir
"$clone/.venv/bin/python" - <<'PYTHON'
import json, pathlib
import dreamerv3, elements
from dreamerv3 import plugins
known = plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml')
save = lambda name, content: pathlib.Path(name).write_text(json.dumps(content, indent=0) + '\n')
save('overlays.json', sorted({*known, *known.files} - {'defaults'}))
save('keys.json', dict(elements.Config(known['defaults']).flat))
PYTHON
# What no test reads: pictures, films, the host's own log, compiled functions, locks.
rm -rf cache/xla
find . \( -name scope -o -name '*.gif' -o -name '*.png' -o -name '.lock*' \) -prune -exec rm -rf {} +
find . -name ckpt | while read -r folder; do
  find "$folder" -mindepth 1 -maxdepth 1 -type d ! -name "$(cat "$folder/latest")" -exec rm -rf {} +
done
