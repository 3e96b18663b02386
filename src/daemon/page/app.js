// The status page: asks for what is new every two seconds, draws it, and asks nobody else.
'use strict';

const EVERY_MS = 2000;
const WINDOW_MS = 600000; // what is kept; a younger process is shown over less
const SVG = 'http://www.w3.org/2000/svg';

const REASONS = {
  junk: 'not a DTLS record, or a cut one',
  hello_bad: 'a ClientHello that does not parse',
  hello_fragment: 'a ClientHello in fragments, which is not taken',
  hello_copy: 'a late or repeated copy of a hello already used',
  stranger: 'a record of a peer that has no session',
  epoch: 'an epoch that is not in use, plaintext included',
  type: 'a content type that is not awaited there',
  order: 'a handshake message out of its turn or malformed',
  repeat: 'a handshake message seen before',
  early: 'application data before the end of the handshake',
  replay: 'seen before, or older than the replay window',
  forged: 'does not authenticate: a wrong key or a forgery',
  size: 'longer than a record may be',
  denied: 'an address that the access lists keep out',
  rate: 'too many handshakes or failures of late',
  policy_rate: 'over the rate of its identity',
  cap: 'a cap of the settings is reached',
  worker: 'of another worker, which has too much waiting',
  draining: 'a new handshake while stopping',
  backend: 'the socket towards the backend did not take it',
  memory: 'out of memory',
  too_big: 'a reply over 16384 bytes, or over what the client takes',
  empty: 'an empty reply to an old device',
  exhausted: 'the session has used up its sequence numbers',
  seal_failed: 'the crypto library refused',
  unproven: 'over what an address that a client has just moved to may get',
};

const CHARTS = [
  { title: 'Datagrams per second', lines: [['client_datagrams', 'from clients'], ['backend_datagrams', 'from backends']] },
  { title: 'Sessions', lines: [['sessions', 'open'], ['flows', 'with a backend socket']] },
  { title: 'Handshakes per second', lines: [['handshakes_completed', 'completed'], ['handshakes_failed', 'failed']] },
  { title: 'Dropped per second', lines: [['drops', 'dropped'], ['hellos', 'hellos answered']] },
];

const $ = (id) => document.getElementById(id);

// ---- words and numbers ----

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

function count(n) {
  return n < 100000 ? whole.format(n) : short.format(n);
}

function rate(n) {
  if (n >= 1000) return short.format(n);
  return n >= 10 || Number.isInteger(n) ? whole.format(n) : n.toFixed(n < 0.1 && n > 0 ? 2 : 1);
}

function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return `${n >= 100 || i === 0 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

function span(seconds) {
  const steps = [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's']];
  for (const [big, bigName, small, smallName] of steps) {
    if (seconds >= big) {
      return `${Math.floor(seconds / big)} ${bigName} ${Math.floor((seconds % big) / small)} ${smallName}`;
    }
  }
  return `${Math.floor(seconds)} s`;
}

// ---- making elements; text is always set as text ----

function make(name, options, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(options || {})) {
    if (key === 'class') e.className = value;
    else e.setAttribute(key, value);
  }
  e.append(...children.map((c) => (typeof c === 'number' ? String(c) : c)));
  return e;
}

function draw(name, attributes, text) {
  const e = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

// Rows of [text or node, ...]; the first cell names its row, cells of `numeric` stand at the right.
function fillTable(table, heads, rows, numeric) {
  const align = (i) => (numeric.has(i) ? { class: 'num' } : {});
  const head = make('thead', {}, make('tr', {},
    ...heads.map((h, i) => make('th', { scope: 'col', ...align(i) }, h))));
  const body = make('tbody', {}, ...rows.map((cells) => make('tr', {},
    ...cells.map((c, i) => make(i ? 'td' : 'th', i ? align(i) : { scope: 'row' }, c)))));
  table.replaceChildren(head, body);
}

function fillList(list, rows) {
  list.replaceChildren(...rows.map(([name, value, isBad]) =>
    make('div', {}, make('dt', {}, name), make('dd', isBad ? { class: 'bad' } : {}, value))));
}

// ---- charts ----

// The least of 1, 2, 5, 10, ... that makes at most three steps up to `top`.
function niceStep(top) {
  let step = 1;
  for (const factors = [2, 2.5, 2]; top / step > 3;) {
    step *= factors[0];
    factors.push(factors.shift());
  }
  return step;
}

class Chart {
  constructor({ title, lines }) {
    this.title = title;
    this.lines = lines;
    this.at = null; // index of the point under the cursor
    this.keys = lines.map(([, label], i) => {
      const value = make('b', {}, '–');
      return { value, node: make('span', { class: i ? 'key b' : 'key' }, `${label} `, value) };
    });
    this.when = make('span', { class: 'facts' });
    this.svg = draw('svg', { class: 'chart', role: 'img', tabindex: '0' });
    this.node = make('figure', { class: 'card' },
      make('figcaption', {}, make('h2', {}, title), this.when,
        make('p', { class: 'keys' }, ...this.keys.map((k) => k.node))), this.svg);
    this.svg.addEventListener('pointermove', (e) => this.point(e.offsetX));
    this.svg.addEventListener('pointerleave', () => this.leave());
    this.svg.addEventListener('blur', () => this.leave());
    this.svg.addEventListener('keydown', (e) => this.step(e));
    new ResizeObserver(() => this.render()).observe(this.svg);
  }

  leave() {
    this.at = null;
    this.render();
  }

  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -15, PageDown: 15, Home: -Infinity, End: Infinity }[event.key];
    const last = past.length - 1;
    if (event.key === 'Escape') this.leave();
    if (by === undefined || last < 0) return;
    event.preventDefault();
    this.at = Math.max(0, Math.min(last, (this.at === null ? last : this.at) + by));
    this.render();
  }

  point(x) {
    if (past.length === 0) return;
    const now = past[past.length - 1].t;
    const t = now - this.window * (1 - (x - this.left) / (this.width - this.left));
    let low = 0;
    for (let high = past.length - 1; low < high;) {
      const middle = (low + high) >> 1;
      if (past[middle].t < t) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && t - past[low - 1].t < past[low].t - t) low--;
    this.at = low;
    this.render();
  }

  render() {
    this.width = this.svg.clientWidth;
    this.height = this.svg.clientHeight;
    if (!this.width) return;
    const top = Math.max(1, ...past.flatMap((p) => this.lines.map(([name]) => p[name])));
    const step = niceStep(top);
    this.top = Math.ceil(top / step) * step;
    const age = past.length ? past[past.length - 1].t - past[0].t : 0;
    this.window = [60000, 120000, 300000, WINDOW_MS].find((w) => age <= w) || WINDOW_MS;
    this.left = 14 + 6.5 * rate(this.top).length;
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${this.height}`);
    const parts = this.grid(step);
    if (past.length > 1) {
      this.lines.forEach(([name], i) => parts.push(...this.curve(name, i)));
      parts.push(...this.cursor());
    } else {
      parts.push(draw('text', { class: 'empty', x: this.width / 2, y: this.height / 2 }, 'the first figures come in a moment'));
    }
    this.svg.replaceChildren(...parts);
    this.tell();
  }

  x(t) {
    const now = past[past.length - 1].t;
    return this.left + (this.width - this.left - 4) * (1 - (now - t) / this.window);
  }

  y(value) {
    return this.height - 20 - (this.height - 30) * (value / this.top);
  }

  grid(step) {
    const parts = [];
    for (let v = 0; v <= this.top; v += step) {
      parts.push(draw('line', { class: 'gridline', x1: this.left, x2: this.width, y1: this.y(v), y2: this.y(v) }));
      parts.push(draw('text', { x: this.left - 6, y: this.y(v) + 4, 'text-anchor': 'end' }, rate(v)));
    }
    const inner = this.width - this.left - 4;
    for (const [part, anchor] of [[1, 'start'], [0.5, 'middle'], [0, 'end']]) {
      const ms = this.window * part;
      const words = ms ? `${ms < 60000 ? `${ms / 1000} s` : `${ms / 60000} min`} ago` : 'now';
      parts.push(draw('text', { x: this.left + inner * (1 - part), y: this.height - 3, 'text-anchor': anchor }, words));
    }
    return parts;
  }

  curve(name, i) {
    const points = past.map((p) => `${this.x(p.t).toFixed(1)},${this.y(p[name]).toFixed(1)}`).join('L');
    const ends = [past[0], past[past.length - 1]].map((p) => this.x(p.t).toFixed(1));
    const kind = i ? ' b' : '';
    return [
      draw('path', { class: `area${kind}`, d: `M${ends[0]},${this.y(0)}L${points}L${ends[1]},${this.y(0)}Z` }),
      draw('path', { class: `line${kind}`, d: `M${points}` }),
    ];
  }

  cursor() {
    if (this.at === null || this.at >= past.length) return [];
    const p = past[this.at];
    const x = this.x(p.t);
    return [
      draw('line', { class: 'cursor', x1: x, x2: x, y1: 6, y2: this.y(0) }),
      ...this.lines.map(([name], i) => draw('circle', { class: i ? 'dot b' : 'dot', cx: x, cy: this.y(p[name]), r: 4 })),
    ];
  }

  // In words: beside the title for all, and as the drawing's name for who cannot see it.
  tell() {
    const p = past[this.at === null ? past.length - 1 : Math.min(this.at, past.length - 1)];
    if (!p) return;
    this.lines.forEach(([name], i) => { this.keys[i].value.textContent = rate(p[name]); });
    this.when.textContent = this.at === null ? '' : new Date(p.t).toLocaleTimeString();
    const words = this.lines.map(([name, label]) =>
      `${label} ${rate(p[name])}, at most ${rate(Math.max(...past.map((q) => q[name])))}`);
    const when = this.at === null ? 'now' : new Date(p.t).toLocaleTimeString();
    this.svg.setAttribute('aria-label', `${this.title}, ${when}: ${words.join('; ')} in the last ten minutes`);
  }
}

// ---- what is shown ----

let past = []; // of the last ten minutes: { t, name: value, ... }
let last = 0;  // the number of the newest
const charts = CHARTS.map((c) => new Chart(c));

function big(id, value, unit) {
  $(id).replaceChildren(value, ...(unit ? [make('small', {}, ` ${unit}`)] : []));
}

function showTiles(status) {
  const now = past[past.length - 1];
  const { totals, limits } = status;
  big('now-sessions', count(totals.sessions));
  $('sub-sessions').textContent = `of ${count(limits.sessions)} allowed`;
  if (!now) return;
  big('now-traffic', rate(now.client_datagrams), 'per second');
  $('sub-traffic').textContent = `${bytes(now.client_bytes)}/s in, ${bytes(now.backend_bytes)}/s back`;
  big('now-handshakes', rate(now.handshakes_completed), 'per second');
  $('sub-handshakes').textContent = `${count(totals.handshakes)} under way, ${count(totals.handshakes_failed)} failed so far`;
  big('now-drops', rate(now.drops), 'per second');
  $('sub-drops').textContent = `${count(totals.drops)} since the start`;
}

function showState(status) {
  const words = { serving: 'good', starting: 'warn', draining: 'warn', stopping: 'bad' };
  $('state').textContent = status.state;
  $('state').className = `pill ${words[status.state] || 'warn'}`;
  $('facts').textContent = `up ${span(status.uptime_seconds)}`;
  $('versions').textContent = `dtlsgate ${status.version} · ${status.crypto_library} · ${status.event_library}`;
  document.title = `dtlsgate: ${count(status.totals.sessions)} sessions`;
  const refused = status.reload.last_refused;
  $('trouble').hidden = !refused;
  if (refused) $('trouble').textContent = 'The last reload was refused, so the settings before it are in effect. The log tells why.';
}

function showServices(services) {
  const heads = ['Service', 'Listens on', 'Backend', 'Sessions', 'Failed', 'Backend sockets', 'Refused', 'Identities'];
  const health = (n) => (n ? make('b', { class: 'bad' }, count(n)) : '0');
  fillTable($('services'), heads,
    services.map((s) => [s.name, make('span', { class: 'mono' }, s.listen.join(', ')),
      make('span', { class: 'mono' }, s.backend), count(s.sessions), count(s.handshakes_failed), count(s.flows),
      health(s.backend_refused + s.flows_failed), count(s.identities)]), new Set([3, 4, 5, 6, 7]));
}

const STATES = { up: 'good', trying: 'warn', down: 'bad', draining: 'warn', gone: '' };

function backendRow(b, workers) {
  const part = b.workers_up > 0 && b.workers_up < workers ? ` ${b.workers_up} of ${workers} workers` : '';
  return [make('span', { class: 'mono' }, b.address),
    make('span', {}, make('span', { class: `pill ${STATES[b.state]}` }, b.state),
      make('span', { class: 'suite' }, `${b.backup ? ' backup' : ''}${part}`)),
    span(b.state_seconds), count(b.weight), count(b.flows), count(b.flows_opened),
    `${count(b.sent_datagrams)} · ${bytes(b.sent_bytes)}`,
    `${count(b.received_datagrams)} · ${bytes(b.received_bytes)}`,
    b.refused ? make('b', { class: 'bad' }, count(b.refused)) : '0'];
}

// One table for each service; those stay while the services do, and with them how far they are scrolled.
function showBackends(services, workers) {
  const names = services.map((s) => s.name).join('\n');
  if ($('backends').dataset.names !== names) {
    $('backends').dataset.names = names;
    $('backends').replaceChildren(...services.flatMap((s, i) => [
      make('h3', { id: `h-backends-${i}` }, s.name),
      make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-labelledby': `h-backends-${i}` },
        make('table', {}))]));
  }
  const heads = ['Backend', 'State', 'For', 'Weight', 'Flows', 'Opened', 'Sent', 'Received', 'Refused'];
  document.querySelectorAll('#backends table').forEach((table, i) => {
    fillTable(table, heads, services[i].backends.map((b) => backendRow(b, workers)), new Set([2, 3, 4, 5, 6, 7, 8]));
  });
}

function showDrops(totals) {
  const found = Object.entries(totals)
    .map(([name, n]) => [/^(client|backend)\.drop_(.*)$/.exec(name), n])
    .filter(([m, n]) => m && n > 0)
    .sort((a, b) => b[1] - a[1]);
  const most = found.length ? found[0][1] : 1;
  const rows = found.map(([[, side, reason], n]) => {
    const bar = make('i');
    bar.style.width = `${(100 * n) / most}%`;
    return make('div', { class: 'reason' },
      make('span', {}, side === 'backend' ? `${reason} (backend)` : reason),
      make('span', { class: 'count' }, count(n)),
      make('span', { class: 'track', 'aria-hidden': 'true' }, bar),
      make('span', { class: 'word' }, REASONS[reason] || ''));
  });
  $('drops').replaceChildren(...(rows.length ? rows : [make('p', { class: 'calm' }, 'Nothing was dropped.')]));
}

function showBackend(t) {
  fillList($('backend'), [
    ['Open sockets', count(t.flows)],
    ['Datagrams to backends', count(t['client.forwarded'])],
    ['Datagrams from backends', count(t.backend_datagrams)],
    ['Refusals by ICMP', count(t.backend_refused), t.backend_refused > 0],
    ['Sockets that could not be opened', count(t.flows_failed), t.flows_failed > 0],
  ]);
}

function showProcess(process) {
  fillList($('process'), [
    ['Memory', bytes(process.resident_bytes)],
    ['CPU time', span(process.cpu_seconds)],
    ['Open descriptors', `${count(process.open_descriptors)} of ${count(process.max_descriptors)}`],
  ]);
}

function showWorkers(workers) {
  const columns = [['sessions', 'Sessions'], ['handshakes', 'Handshakes'], ['flows', 'Backend sockets'],
    ['client_datagrams', 'From clients'], ['client_sent', 'To clients'], ['backend_datagrams', 'From backends'],
    ['handshakes_completed', 'Completed'], ['handshakes_failed', 'Failed'], ['drops', 'Dropped']];
  fillTable($('workers'), ['Worker', ...columns.map(([, title]) => title)],
    workers.map((w, i) => [String(i), ...columns.map(([name]) => count(w[name]))]),
    new Set(columns.map((_, i) => i + 1)));
}

function showStatus(status) {
  showState(status);
  showTiles(status);
  showServices(status.services);
  showBackends(status.services, status.workers.length);
  showDrops(status.totals);
  showBackend(status.totals);
  showProcess(status.process);
  showWorkers(status.workers);
}

// ---- sessions ----

// A walk over very many takes the workers some time, so those are asked for less often.
const MANY = 5000;
const ROWS = 20;
let sessionsAt = 0;    // when the next round is due
let sessionsRound = 0; // answers that were overtaken by another question are not shown

function ago(seconds) {
  return seconds < 1 ? 'now' : span(seconds);
}

function source(s) {
  return make('span', { class: 'mono' }, s.backend_source || '');
}

// What the backend takes the client for has a column where the settings of any of them choose it.
function showSessions({ sessions, looked_at: looked, is_cut: isCut }, isSearch) {
  const hasSource = sessions.some((s) => s.backend_source) ? 1 : 0;
  fillTable($('sessions'), ['Identity', 'Client', 'Service', ...(hasSource ? ['Seen as'] : []), 'Open for', 'Idle', 'In', 'Out', 'Drops', 'Suite'],
    sessions.map((s) => [
      make('span', { class: 'name', title: `session ${s.id}` }, s.identity),
      make('span', { class: 'mono' }, s.peer), s.service, ...(hasSource ? [source(s)] : []), span(s.age_seconds), ago(s.idle_seconds),
      `${count(s.in_datagrams)} · ${bytes(s.in_bytes)}`, `${count(s.out_datagrams)} · ${bytes(s.out_bytes)}`,
      count(s.drops), make('span', { class: 'suite' }, s.suite)]), new Set([3, 4, 5, 6, 7].map((i) => i + hasSource)));
  $('sessions').hidden = sessions.length === 0;
  let note = '';
  if (!sessions.length) note = isSearch ? 'No session is like that.' : 'No session is open.';
  else if (sessions.length === ROWS) note = `The first ${ROWS}.`;
  if (isCut) note += ` Looked at ${count(looked)} sessions; there are more.`;
  $('sessions-note').textContent = note;
}

async function refreshSessions() {
  const round = ++sessionsRound;
  const asked = new URLSearchParams(new FormData($('sessions-form')));
  asked.set('limit', ROWS);
  const answer = await ask(`/sessions.json?${asked}`);
  if (round !== sessionsRound) return;
  showSessions(answer, asked.get('search') !== '');
  sessionsAt = Date.now() + (answer.looked_at > MANY ? 15000 : EVERY_MS);
}

function askAnew() {
  sessionsAt = Infinity;
  refreshSessions().catch(() => { sessionsAt = 0; });
}

// ---- asking ----

// A history that went back is that of another process: what we have is not its past.
function takeHistory(news) {
  const now = Date.now();
  if (news.last < last) past = [];
  news.age_ms.forEach((age, i) => {
    const p = { t: now - age };
    for (const [name, values] of Object.entries(news.series)) p[name] = values[i];
    if (!past.length || p.t > past[past.length - 1].t + news.every_ms / 4) past.push(p);
  });
  last = news.last;
  while (past.length && past[0].t < now - WINDOW_MS - news.every_ms) past.shift();
}

async function ask(path) {
  const answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refresh() {
  try {
    const [status, news] = await Promise.all([ask('/status.json'), ask(`/history.json?since=${last}`)]);
    takeHistory(news);
    showStatus(status);
    charts.forEach((c) => c.render());
    if (Date.now() >= sessionsAt) await refreshSessions();
    document.body.dataset.fresh = String(status.uptime_seconds);
  } catch (error) {
    $('state').textContent = 'no answer';
    $('state').className = 'pill bad';
    $('trouble').hidden = false;
    $('trouble').textContent = `dtlsgate does not answer (${error.message}); the figures below are old. Trying again.`;
  }
}

// One round after the other, and none while nobody looks.
async function run() {
  if (!document.hidden) await refresh();
  setTimeout(run, EVERY_MS);
}

let typing;
$('sessions-form').addEventListener('submit', (event) => { event.preventDefault(); askAnew(); });
$('sessions-form').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(askAnew, 250);
});
$('charts').append(...charts.map((c) => c.node));
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
run();
