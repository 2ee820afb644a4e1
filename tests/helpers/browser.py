"""A headless Chromium, driven through its DevTools protocol over two pipes; no package is needed."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'chrome')
FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', '--no-first-run',
         '--disable-dev-shm-usage', '--disable-background-networking')
SECONDS = 60.0


def found():
  """Return the path of a browser, None if there is none."""
  return next((x for x in map(shutil.which, NAMES) if x), None)


class Page:
  """A tab of a browser; `errors` is what it complained of since it was opened."""

  def __init__(self, process, write, read):
    self.process, self.write, self.read = process, write, read
    self.numbers, self.rest, self.session = itertools.count(1), b'', None
    self.errors, self.asked = [], {}
    target = self.call('Target.createTarget', url='about:blank')['targetId']
    self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
    for domain in ('Page', 'Runtime', 'Log', 'Network'):
      self.call(f'{domain}.enable')

  def call(self, method, **params):
    """Send a command and return its result; events that come meanwhile are noted."""
    number = next(self.numbers)
    message = dict(id=number, method=method, params=params)
    if self.session:
      message['sessionId'] = self.session
    os.write(self.write, json.dumps(message).encode() + b'\0')
    while True:
      found = self._next()
      if found.get('id') == number:
        assert 'error' not in found, (method, found['error'])
        return found['result']

  def open(self, path, width=1280, height=900):
    """Show a file, in a window of so many pixels."""
    self.size(width, height)
    self.errors.clear(), self.asked.clear()
    self.loaded = False
    self.call('Page.navigate', url=path.as_uri())
    while not self.loaded:
      self._next()
    self.evaluate('Promise.all([...document.images].map(x => x.decode()))')

  @property
  def requests(self):
    """Return the addresses that were asked for, without what the page itself forbids."""
    return list(self.asked.values())

  def size(self, width, height):
    self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
              deviceScaleFactor=1, mobile=False)

  def evaluate(self, code):
    """Return the value of an expression in the page."""
    done = self.call('Runtime.evaluate', expression=code, returnByValue=True, awaitPromise=True)
    assert 'exceptionDetails' not in done, done['exceptionDetails']
    return done['result'].get('value')

  def press(self, key, code):
    """Press a key; code: its number in Windows."""
    text = {'Enter': '\r', ' ': ' '}.get(key)
    extra = dict(text=text) if text else {}
    for kind in ('keyDown', 'keyUp'):
      self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                **extra)

  def click(self, selector):
    """Click into the middle of the first element that a selector finds."""
    element = f'document.querySelector({json.dumps(selector)})'
    self.evaluate(f"{element}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    # What is where is known to the mouse once it was drawn.
    self.evaluate('new Promise(x => requestAnimationFrame(() => requestAnimationFrame(x)))')
    x, y = self.evaluate(
        f'(r => [r.x + r.width / 2, r.y + r.height / 2])({element}.getBoundingClientRect())')
    for kind in ('mousePressed', 'mouseReleased'):
      self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

  def screenshot(self, path, full=False):
    """Write what is seen, or the full page, as PNG."""
    done = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=full)
    path.write_bytes(base64.b64decode(done['data']))

  def _next(self):
    until = time.monotonic() + SECONDS
    while b'\0' not in self.rest:
      ready, _, _ = select.select([self.read], [], [], max(0, until - time.monotonic()))
      assert ready, f'no answer of the browser in {SECONDS} s'
      self.rest += os.read(self.read, 2 ** 16) or self._gone()
    message, _, self.rest = self.rest.partition(b'\0')
    message = json.loads(message)
    self._note(message.get('method'), message.get('params', {}))
    return message

  def _note(self, method, params):
    if method == 'Page.loadEventFired':
      self.loaded = True
    if method == 'Network.requestWillBeSent' and not params['request']['url'].startswith('data:'):
      self.asked[params['requestId']] = params['request']['url']
    if method == 'Network.loadingFailed' and params.get('blockedReason') == 'csp':
      self.asked.pop(params['requestId'], None)
    if method in ('Runtime.exceptionThrown', 'Log.entryAdded') or (
        method == 'Runtime.consoleAPICalled' and params['type'] in ('error', 'warning')):
      self.errors.append(params)

  def _gone(self):
    raise AssertionError(f'the browser ended with status {self.process.wait()}')


@contextlib.contextmanager
def page(folder):
  """Yield a tab of a browser whose profile lies in `folder`."""
  theirs, write = os.pipe()
  read, ours = os.pipe()
  process = subprocess.Popen(
      [found(), *FLAGS, f'--user-data-dir={folder}'], pass_fds=(3, 4), stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=lambda: _place(theirs, ours))
  os.close(theirs), os.close(ours)
  try:
    yield Page(process, write, read)
  finally:
    # Asked to close, it leaves no process of its own behind.
    with contextlib.suppress(OSError):
      os.write(write, json.dumps(dict(id=0, method='Browser.close')).encode() + b'\0')
    try:
      process.wait(10)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
    os.close(write), os.close(read)


def _place(theirs, ours):
  """Give the browser the pipes where it looks for them: it reads from 3 and writes to 4."""
  theirs, ours = os.dup(theirs), os.dup(ours)
  os.dup2(theirs, 3)
  os.dup2(ours, 4)
