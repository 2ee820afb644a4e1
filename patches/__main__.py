"""Make `python -m dreamerv3` the same as running `dreamerv3/main.py`."""

# Spawned workers import this file again under another name: the guard keeps
# them from starting a run, and the import inside it from loading all of JAX.
if __name__ == '__main__':
  from dreamerv3.main import main
  main()
