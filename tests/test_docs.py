"""What the README files say is there: links, overlays, commands, keys, names, and the result."""

import ast
import csv
import pathlib
import re

import numpy as np
import pytest
import scipy.stats

from vid2act_plugin import cli
from vid2act_plugin.studies import comparison
from vid2act_plugin.training import scores

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'bench' / 'transfer' / 'results'
FOLDERS = ('bench', 'configs', 'patches', 'tests', 'vid2act_plugin')  # Others hold what is made here.
PAGES = {
    str(x.relative_to(ROOT)): x.read_text() for x in (
        ROOT / 'README.md', *(y for z in FOLDERS for y in sorted((ROOT / z).rglob('README.md'))))}
DOORS = ('README.md', 'configs/README.md', 'configs/ablations/README.md', 'patches/README.md',
         'vid2act_plugin/agent/README.md', 'bench/README.md', 'bench/transfer/README.md')
LINK = re.compile(r'\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)')
KEY = re.compile(r'(?:`|--)((?:vid2act|agent|env|run|jax)\.[a-z0-9_.]+)(?=[`:= ]|$)', re.M)
COMMAND = re.compile(r'(?:^    |`)vid2act ([a-z]+)', re.M)
CONFIGS = re.compile(r'--configs((?: [\w./]+)+)')


def slugs(text):
  """Return the anchors that GitHub gives to the headings of a page."""
  headings = re.findall(r'^#+ (.*)$', text, re.M)
  return {re.sub(r'[^\w -]', '', x.lower()).replace(' ', '-') for x in headings}


def rows(text, heading):
  """Return the cells of the table below a heading, without its first two lines."""
  part = re.split(r'^#+ ', text.split(f'# {heading}\n')[1], flags=re.M)[0]
  lines = [x for x in part.splitlines() if x.startswith('|')]
  return [[y.strip() for y in x.strip('|').split(' | ')] for x in lines[2:]]


def code(text):
  return re.findall(r'`([^`]+)`', text)


def test_the_first_page_is_short_and_every_door_has_one():
  assert len(PAGES['README.md'].splitlines()) <= 140
  assert not set(DOORS) - set(PAGES)


@pytest.mark.parametrize('page', sorted(PAGES))
def test_links_lead_somewhere(page):
  for path, anchor in LINK.findall(PAGES[page]):
    target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
    assert target.exists(), path
    if anchor:
      assert anchor in slugs(target.read_text()), (path, anchor)


def test_every_overlay_is_told_with_the_variants_and_suites(overlays):
  named = {
      name for heading in ('Suites', 'Variants') for row in rows(PAGES['configs/README.md'], heading)
      for name in code(row[0])}
  assert named == set(overlays.files)
  short = {x for row in rows(PAGES['README.md'], 'Variants') for x in code(row[0])}
  assert short == named - {'metaworld', 'dmc', 'gymnasium', 'quickstart'}


def test_every_command_is_told_and_there():
  told = set(COMMAND.findall(PAGES['README.md']))
  assert told == set(cli.COMMANDS)
  for page, text in PAGES.items():
    assert set(COMMAND.findall(text)) <= set(cli.COMMANDS), page


@pytest.mark.parametrize('page', sorted(PAGES))
def test_keys_and_overlays_that_are_named_exist(page, configure, overlays):
  known = set(configure().flat)
  known |= {key.rsplit('.', i)[0] for key in known for i in range(1, key.count('.') + 1)}
  assert not set(KEY.findall(PAGES[page])) - known
  for names in CONFIGS.findall(PAGES[page]):
    assert all(x in {*overlays, *overlays.files} or x.endswith('.yaml') for x in names.split()), names


def test_what_is_looked_for_is_found():
  assert len(set(KEY.findall(PAGES['configs/README.md']))) >= 10
  assert len(CONFIGS.findall(PAGES['README.md'])) >= 4
  assert len(LINK.findall(PAGES['README.md'])) >= 10


def test_the_map_of_the_code_is_complete():
  block = PAGES['README.md'].split('    vid2act_plugin/\n')[1].split('\n\n')[0]
  at = lambda indent: {x.rstrip('/') for x in re.findall(rf'^ {{{indent}}}(\S+)', block, re.M)}
  package = ROOT / 'vid2act_plugin'
  made = {x.name for x in package.iterdir() if x.suffix == '.py' or list(x.glob('*.py'))}
  assert at(6) == made - {'__init__.py'}
  assert at(4) == {'configs', 'patches', 'bench', 'tests'}


def test_the_equations_name_code_that_exists():
  page = PAGES['vid2act_plugin/agent/README.md']
  table = [x for heading in ('The equations', 'Sources that act') for x in rows(page, heading) if x[0].isdigit()]
  assert [x[0] for x in table] == list('1234567')
  for row in table:
    for module, *names in (x.split('.') for x in code(row[2])):
      tree = ast.parse((ROOT / 'vid2act_plugin' / 'agent' / f'{module}.py').read_text())
      for name in names:
        tree = next((x for x in tree.body if getattr(x, 'name', '') == name), None)
        assert tree, (module, names)


def told(word):
  """Return the figure and the interval that the first page gives after a word."""
  text = ' '.join(PAGES['README.md'].split()).split('## Does it help?')[1]
  found = re.search(r'(-?[\d.]+) \((-?[\d.]+) to (-?[\d.]+)\)', text.split(word, 1)[1])
  return [float(x) for x in found.groups()]


def test_the_result_is_the_committed_comparison():
  found = {
      (x['method'], x['metric']): x for x in csv.DictReader((RESULTS / 'comparison.csv').open())
      if x['task'] == 'all'}
  row = found['vid2act', 'paired_difference']
  assert told('more than stock') == [round(float(row[x]), 1) for x in ('mean', 'low', 'high')]
  stock = float(found['stock', 'score_auc']['mean'])
  assert f'(stock has {stock:.0f})' in PAGES['README.md'] and row['seeds'] == '10'


def test_the_difference_to_finetune_is_that_of_the_committed_scores():
  """Bounds are Welch's: a mean of two means is half the difference of one and the other's negative."""
  runs = scores.load(RESULTS / 'control' / 'scores' / 'score.json.gz')
  tasks = sorted({x['task'] for x in runs})
  spans = {task: comparison.span([x for x in runs if x['task'] == task]) for task in tasks}
  mean = {
      (x['method'], x['task'], x['seed']): comparison.mean_over(x, *spans[x['task']]) for x in runs}
  differences = np.array([
      [mean['vid2act', task, seed] - mean['finetune', task, seed] for seed in range(10)]
      for task in tasks])
  wanted = scipy.stats.ttest_ind(differences[0], -differences[1], equal_var=False).confidence_interval()
  figure, low, high = told('more than `finetune`')
  assert figure == pytest.approx(differences.mean(), abs=0.051)
  assert [low, high] == pytest.approx([wanted.low / 2, wanted.high / 2], abs=0.051)
