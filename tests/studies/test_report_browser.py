"""The report in a real browser: films follow sliders, tables sort, nothing is fetched, no error."""

import pytest
from helpers import browser, logdirs

from vid2act_plugin.studies import report

pytestmark = pytest.mark.skipif(not browser.found(), reason='needs a Chromium: ' + ' or '.join(browser.NAMES))
SCRIPT = '<script>document.title = "owned"</script>'
LEVEL = '''(() => {
  const box = document.querySelector('.along .film'), image = box.querySelector('img');
  const [a, b] = [box.getBoundingClientRect(), image.getBoundingClientRect()];
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const scale = image.naturalWidth / b.width, context = canvas.getContext('2d');
  context.drawImage(image, (a.x - b.x + a.width / 2) * scale, (a.y - b.y + a.height / 2) * scale, 1, 1, 0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data[0];
})()'''
READ = "[...document.querySelectorAll('.along .readout tr')].map(x => x.querySelector('.value').textContent)"
COLUMN = "[...document.querySelectorAll('#sources td:nth-child(%d)')].map(x => x.textContent)"
CURSOR = "document.querySelector('.along .cursor').style.left"
WIDTH = '[document.documentElement.scrollWidth, innerWidth]'


@pytest.fixture(scope='module')
def tab(tmp_path_factory):
  with browser.page(tmp_path_factory.mktemp('browser')) as page:
    yield page


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  sources = ('two', 'ten', SCRIPT, 'none')
  return report.write(logdirs.write(tmp_path_factory.mktemp('run') / 'run', SCRIPT, SCRIPT, sources))


def clean(tab, path):
  assert not tab.errors and tab.requests == [path.as_uri()]


def test_the_slider_moves_frame_values_and_cursor(tab, run):
  """By keyboard, whose first press also ends the playing."""
  tab.open(run)
  tab.evaluate("document.querySelector('.along input').focus()")
  tab.press('Home', 36)
  steps = logdirs.STEPS
  levels = logdirs.frames(steps)[:, 0, 0, 0].tolist()
  seen, cursors = [], []
  for step in range(steps):
    assert tab.evaluate("document.querySelector('.along output').textContent") == f'{step} of {steps - 1}'
    reward, total, success, *weights = tab.evaluate(READ)
    assert [reward, total, success] == [
        str(int(step == steps - 2)), str(int(step >= steps - 2)), str(int(step == steps - 1))]
    assert float(weights[-1]) == pytest.approx(step / steps / 2, abs=1e-3)  # The least relevant one, last.
    seen.append(tab.evaluate(LEVEL))
    cursors.append(float(tab.evaluate(CURSOR).rstrip('%')))
    tab.press('ArrowRight', 39)
  assert seen == pytest.approx(levels, abs=3) and len({*seen}) == steps - 1
  assert cursors == sorted(cursors) and len({*cursors}) == steps
  clean(tab, run)


def test_play_and_pause(tab, run):
  tab.open(run)
  tab.click('.along .film')  # Into view, where it plays; the first press pauses it.
  at = "document.querySelector('.along input').value"
  moved = f'''new Promise(done => {{ const a = {at}; const t = setInterval(() => {{
    if ({at} !== a) {{ clearInterval(t); done(true); }} }}, 10); setTimeout(() => done(false), 800); }})'''
  label = "document.querySelector('.along .play').textContent"
  tab.evaluate("document.querySelector('.along .play').focus()")
  if tab.evaluate(label) == 'Play':
    tab.press('Enter', 13)
  assert tab.evaluate(label) == 'Pause' and tab.evaluate(moved)
  tab.press(' ', 32)
  assert tab.evaluate(label) == 'Play' and not tab.evaluate(moved)


def test_tables_sort_numbers_as_numbers_and_what_is_missing_last(tab, run):
  tab.open(run)
  head = '#sources th:nth-child(%d)'
  order = lambda i: tab.evaluate(f"document.querySelector('{head % i}').getAttribute('aria-sort')")
  assert order(3) == 'none' and tab.evaluate(COLUMN % 3) == ['5', '15', '25', '35', '4']
  tab.click(f'{head % 3} button')
  assert order(3) == 'ascending' and tab.evaluate(COLUMN % 3) == ['4', '5', '15', '25', '35']
  tab.press('Enter', 13)  # The button has the focus.
  assert order(3) == 'descending' and tab.evaluate(COLUMN % 3) == ['35', '25', '15', '5', '4']
  for expected in (['0.25', '0.75', '1.25', '1.75', '–'], ['1.75', '1.25', '0.75', '0.25', '–']):
    tab.click(f'{head % 2} button')
    assert tab.evaluate(COLUMN % 2) == expected and order(3) == 'none'
  tab.click(f'{head % 1} button')
  assert tab.evaluate(COLUMN % 1) == [SCRIPT, 'none', 'policy, its last ones', 'ten', 'two']
  clean(tab, run)


def test_text_stays_text_and_no_page_is_wider_than_its_window(tab, run, study):
  for path in (run, report.write(study((SCRIPT + 'm' * 80, 'stock'), f"{'t' * 80}_{SCRIPT}"))):
    for width in (320, 360, 768, 1280):
      tab.open(path, width, 700)
      scroll, inner = tab.evaluate(WIDTH)
      assert scroll <= inner, (path, width)
      clean(tab, path)
    assert SCRIPT in tab.evaluate('document.body.textContent')
    assert tab.evaluate('document.title') != 'owned'
    assert tab.evaluate("document.querySelectorAll('script:not([type])').length") == 1


def test_a_script_that_got_in_would_not_run(tab, run, tmp_path):
  content = run.read_text(encoding='utf-8').replace('<main>', f'<main>{SCRIPT}<img src="http://127.0.0.1:1/x">')
  (tmp_path / 'x.html').write_text(content, encoding='utf-8')
  tab.call('Page.navigate', url=(tmp_path / 'x.html').as_uri())
  tab.evaluate('new Promise(done => setTimeout(done, 300))')
  assert tab.evaluate('document.title') != 'owned'
  assert len(tab.errors) >= 2 and not [x for x in tab.requests if x.startswith('http')]


def test_all_that_is_used_is_reached_by_keyboard(tab, run):
  tab.open(run)
  wanted = tab.evaluate("document.querySelectorAll('a, button, input, summary, pre, .wide').length")
  reached = set()
  for _ in range(wanted + 5):
    tab.press('Tab', 9)
    reached.add(tab.evaluate(
        "[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
  closed = tab.evaluate("document.querySelectorAll('details:not([open]) pre').length")
  assert len(reached) >= wanted - closed
