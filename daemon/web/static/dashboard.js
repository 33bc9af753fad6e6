// The dashboard: reads the API, follows the event stream, and writes text only as text.
"use strict";

const $ = (id) => document.getElementById(id);
const STALE_MS = 20000;
const RETRY_MS = 5000;
// A person who pressed a button must hear something, also when nobody answers.
const ANSWER_MS = 10000;
let overview = null;
let shownState = "";
let shownCurve = "";
let received = 0;
let isFetching = false;
let isWanted = false;
let isStale = false;
let opened = Date.now();
let unreadable = "";
let unread = [];

// Elements are built, never parsed: nothing that came from outside can become markup.
function node(tag, text, cls) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  if (cls) made.className = cls;
  return made;
}

const number = (value, digits = 2) =>
  value === null || value === undefined || value === "" ? "–"
    : Number(value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const signed = (value, digits = 2) =>
  value === null || value === undefined ? "–" : (Number(value) > 0 ? "+" : "") + number(value, digits);
// Forecasts speak of log returns; people of what the price does, in percent.
const grown = (logReturn) => 100 * Math.expm1(logReturn);
const middle = (quantiles) => quantiles[Math.floor(quantiles.length / 2)];
const quantity = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en-US", { maximumFractionDigits: 6 }));
const tone = (value) => (Number(value) > 0 ? "good" : Number(value) < 0 ? "ill" : "");
const newYork = new Intl.DateTimeFormat("en-GB", { timeZone: "America/New_York", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const newYorkDay = new Intl.DateTimeFormat("en-GB", { timeZone: "America/New_York", weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const newYorkDate = new Intl.DateTimeFormat("en-GB", { timeZone: "America/New_York", weekday: "short", day: "numeric", month: "short" });
const newYorkIso = new Intl.DateTimeFormat("sv-SE", { timeZone: "America/New_York", year: "numeric", month: "2-digit", day: "2-digit" });
const time = (text) => (text ? newYork.format(new Date(text)) : "–");
const day = (text) => (text ? newYorkDay.format(new Date(text)) : "–");

function span(seconds) {
  const left = Math.max(0, Math.round(seconds));
  if (left < 90) return `${left} s`;
  if (left < 5400) return `${Math.round(left / 60)} min`;
  const hours = Math.floor(left / 3600);
  return hours < 48 ? `${hours} h ${Math.round((left % 3600) / 60)} min` : `${Math.round(hours / 24)} days`;
}

function countdown(seconds) {
  const left = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(left / 3600);
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  return `${hours}:${two(Math.floor(left / 60) % 60)}:${two(left % 60)}`;
}

// The daemon's own time: a replay runs faster than this machine.
function daemonNow() {
  return new Date(overview.now).getTime() + (Date.now() - received) * overview.speed;
}

function put(id, text, cls) {
  const target = $(id);
  target.textContent = text;
  if (cls !== undefined) target.className = target.className.split(" ").filter((c) => !["good", "warned", "ill"].includes(c)).concat(cls || []).join(" ");
}

function showHead() {
  const o = overview;
  put("mode", o.mode_name);
  $("mode").className = `badge ${o.mode_name.toLowerCase()}`;
  put("account", o.account_tail ? `account …${o.account_tail}` : "");
  const trading = tradingState();
  document.title = `${trading.name} ${number(o.equity, 0)} · openbell`;
  put("state", trading.name, trading.tone);
  put("state-why", trading.why);
  put("latch", o.kill.engaged ? "ENGAGED" : "armed", o.kill.engaged ? "ill" : "good");
  put("latch-why", o.kill.engaged ? `${o.kill.reason} (${day(o.kill.at)})` : "released only by a person at the machine");
  put("equity", `$${number(o.equity)}`);
  put("pnl", `${sessionDay()} ${signed(o.daily_pnl)} (${signed(o.daily_pnl_pct)} %)`, tone(o.daily_pnl));
  const broken = o.locked_symbols.length || o.unknown_orders;
  put("books", broken ? "in doubt" : o.is_compared ? "agree" : "not compared", broken ? "ill" : o.is_compared ? "good" : "warned");
  showSources();
  showMeters();
  showBanner();
  for (const id of ["token", "reason", "pause", "kill"]) $(id).disabled = !o.control;
  if (!o.control) put("control-why", "Buttons are off: no OPENBELL_HTTP_TOKEN is set. `openbell kill` works at the machine.");
}

// In the night, and over a weekend, the day's figure is that of the last session.
function sessionDay() {
  const date = overview.session && overview.session.date;
  return !date || date === newYorkIso.format(new Date(overview.now)) ? "today" : `on ${date}`;
}

// What is remembered is of the last look; a pause and a doubt about the market hold at once.
function tradingState() {
  const o = overview;
  const reason = o.trading_state_reason || "";
  const differs = o.market_check && o.market_check !== "agrees" ? o.market_check : "";
  const doubts = [[o.paused, `entries paused: ${o.paused}`], [differs, `entries blocked: ${differs}`]].filter(([what]) => what);
  const state = o.trading_state === "ACTIVE" && doubts.length ? "REDUCING" : o.trading_state;
  const why = [reason, ...doubts.filter(([what]) => !reason.includes(what)).map(([, text]) => text)];
  return {
    name: o.paused && state === "REDUCING" ? "PAUSED" : state,
    tone: { ACTIVE: "good", REDUCING: "warned", HALTED: "ill" }[state] || "ill",
    why: why.filter(Boolean).join("; ") || "entries and exits allowed",
  };
}

function showBanner() {
  const told = [];
  if (isStale) told.push(received ? `no news from the daemon since ${new Date(received).toLocaleTimeString()}: all below is of then` : "the daemon does not answer");
  if (unreadable) told.push(unreadable);
  if (unread.length) told.push(`could not be read, and is as it was before: ${unread.join(", ")}`);
  if (overview) told.push(...overview.problems);
  const isStopped = overview && (overview.kill.engaged || overview.trading_state === "HALTED");
  const banner = $("banner");
  banner.hidden = !told.length;
  banner.textContent = told.join(" · ");
  banner.className = isStale || unreadable || unread.length || isStopped ? "banner ill" : "banner";
}

function hours(session) {
  const short = (text) => time(text).slice(0, 5);
  return `${newYorkDate.format(new Date(session.opens_at))}, ${short(session.opens_at)}–${short(session.closes_at)}${session.half_day ? ", half day" : ""}`;
}

function showSources() {
  const o = overview;
  const list = $("sources");
  list.replaceChildren();
  const pair = (name, value, cls) => list.append(node("dt", name), node("dd", value, cls));
  pair("forecasts", o.forecast_source || "none yet");
  for (const [source, got] of Object.entries(o.accuracy)) pair(`right direction, ${source}`, `${number((100 * got.right) / got.matured, 1)} % of ${got.matured}, base rate ${number((100 * got.baseline_right) / got.matured, 1)} %`);
  if (!Object.keys(o.accuracy).length) pair("right direction", "no forecast has matured yet");
  for (const [source, why] of Object.entries(o.demoted_sources)) pair(`demoted, ${source}`, why, "warned");
  for (const [name, state] of Object.entries(o.breakers)) pair(`breaker ${name}`, state.replace("_", " "), state === "closed" ? "good" : "warned");
  pair("trade stream", o.stream.connected ? "connected" : "down", o.stream.connected ? "good" : "ill");
  pair("last update", o.stream.last_event_at ? `${time(o.stream.last_event_at)}, ${span((daemonNow() - new Date(o.stream.last_event_at)) / 1000)} ago` : "none yet");
  pair("open orders", o.open_orders);
  pair("unknown orders", o.unknown_orders, o.unknown_orders ? "ill" : "");
  pair("locked symbols", o.locked_symbols.join(", ") || "none", o.locked_symbols.length ? "ill" : "");
  pair("session", `${o.session.date || "–"} ${o.session.phase || ""}`);
  if (o.tomorrow) pair("session after", hours(o.tomorrow));
  if (o.speed > 1) pair("replay", `${number(o.speed, 0)} × real time`);
}

function meter(id, name, value, limit, unit) {
  const box = $(id);
  const share = limit > 0 ? Math.max(0, value || 0) / limit : 0;
  const row = node("div", null, "row");
  row.append(node("span", name), node("span", `${number(value)} of ${number(limit, limit % 1 ? 1 : 0)} ${unit}`, "num"));
  const track = node("div", null, "track");
  const fill = node("div", null, `fill ${share >= 0.9 ? "ill" : share >= 0.6 ? "warned" : ""}`);
  fill.style.width = `${Math.min(100, share * 100)}%`;
  track.append(fill);
  box.replaceChildren(row, track);
}

function showMeters() {
  const o = overview;
  // What is not known is told as such: 0 would be good news.
  meter("m-drawdown", "drawdown", o.drawdown_pct, o.limits.max_drawdown_pct, "%");
  meter("m-daily", `loss ${sessionDay()}`, o.daily_pnl_pct === null ? null : Math.max(0, -o.daily_pnl_pct), o.limits.max_daily_loss_pct, "%");
  meter("m-gpu", "GPU today", Number(o.costs.gpu_day_usd), Number(o.costs.gpu_day_budget_usd), "USD");
  meter("m-month", "costs this month", Number(o.costs.month_usd), Number(o.costs.month_budget_usd), "USD");
}

function tick() {
  if (document.visibilityState === "hidden") return;
  const wasStale = isStale;
  isStale = Date.now() - Math.max(received, opened) > STALE_MS;
  $("link").className = received && !isStale ? "dot" : "dot off";
  if (isStale !== wasStale) {
    showBanner();
    if (isStale) document.title = "no news · openbell";
  }
  if (!overview) return;
  const now = daemonNow();
  put("clock", `${newYork.format(new Date(now))} NY`);
  const next = overview.next_run;
  const left = next ? (new Date(next.at) - now) / 1000 : 0;
  put("countdown", next ? (left > 0 ? countdown(left) : left > -60 ? "now" : `since ${span(-left)}`) : "–");
  put("next", next ? `${next.kind}, ${day(next.at)}` : "nothing is planned");
  const at = overview.reconciled_at;
  put("books-why", at ? `compared ${span((now - new Date(at)) / 1000)} ago` : "never compared");
  if (isStale) put("clock", `no news since ${new Date(received).toLocaleTimeString()}`);
}

function table(id, columns, rows, empty) {
  const box = $(id);
  if (!rows.length) {
    box.replaceChildren(node("p", empty, "empty"));
    return;
  }
  const made = node("table");
  const head = node("tr");
  for (const column of columns) head.append(node("th", column.name, [column.r ? "r" : "", column.text ? "text" : "", column.minor ? "minor" : ""].join(" ").trim()));
  const body = node("tbody");
  for (const row of rows) {
    const line = node("tr");
    for (const column of columns) {
      const cell = node("td", null, [column.r ? "r" : "", column.text ? "text" : "", column.minor ? "minor" : "", column.tone ? column.tone(row) : ""].join(" ").trim());
      const value = column.get(row);
      if (value instanceof Node) cell.append(value); else cell.textContent = value ?? "–";
      line.append(cell);
    }
    body.append(line);
  }
  const top = node("thead");
  top.append(head);
  made.append(top, body);
  const scroll = [box.scrollTop, box.scrollLeft];
  box.replaceChildren(made);
  [box.scrollTop, box.scrollLeft] = scroll;
}

function symbolButton(symbol) {
  const made = node("button", symbol, "symbol");
  made.type = "button";
  made.addEventListener("click", () => explain(symbol));
  return made;
}

async function read(path) {
  const answer = await fetch(`/api/v1/${path}`, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(2 * ANSWER_MS) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

const stateTone = (state) => ({ filled: "good", denied: "warned", rejected: "ill", unknown: "ill", DONE: "good", FAILED: "ill", SKIPPED: "warned" })[state] || "";

// Each table by itself: one that cannot be read must keep no other from being shown.
async function refresh() {
  if (!overview) return;
  if (isFetching) { isWanted = true; return; }
  isFetching = true;
  const date = overview.session.date ? `?date=${overview.session.date}` : "";
  const curve = [overview.equity_at, overview.high_water_mark].join();
  const parts = [
    [showPositions, "positions"], [showOrders, `orders${date}`], [showDecisions, "signals", "forecasts", "sentiment"],
    [showRuns, "runs"], [showReports, "reports", "periods"], [showScores, "scores"], [showIncidents, "incidents"],
  ];
  // The longest of them: it changes with the account only.
  if (curve !== shownCurve) parts.push([(rows) => { showCurve(rows); shownCurve = curve; }, "equity?points=400"]);
  const failed = [];
  await Promise.all(parts.map(async ([show, ...paths]) => {
    try {
      show(...(await Promise.all(paths.map(read))));
    } catch (error) {
      console.warn(error.message);
      failed.push(paths[0].split("?")[0]);
    }
  }));
  unread = failed;
  showBanner();
  isFetching = false;
  if (isWanted || failed.length) setTimeout(refresh, isWanted ? 500 : RETRY_MS);
  isWanted = false;
}

function showPositions(rows) {
  const equity = Number(overview.equity) || 0;
  const values = rows.map((row) => Math.abs(Number(row.market_value)));
  const gross = values.reduce((sum, value) => sum + value, 0);
  const share = (value) => (equity > 0 ? (100 * value) / equity : null);
  meter("m-gross", "gross exposure", share(gross), overview.limits.max_gross_pct, "%");
  meter("m-largest", "largest position", share(Math.max(0, ...values)), overview.limits.max_position_pct, "%");
  put("n-positions", rows.length ? `${rows.length}, $${number(gross, 0)}` : "");
  table("positions", [
    { name: "symbol", get: (r) => symbolButton(r.symbol) },
    { name: "quantity", r: true, get: (r) => quantity(r.quantity) },
    { name: "entry", r: true, get: (r) => number(r.avg_entry_price) },
    { name: "price", r: true, get: (r) => number(r.market_price) },
    { name: "value", r: true, get: (r) => number(r.market_value) },
    { name: "% equity", r: true, minor: true, get: (r) => (equity ? number((100 * Number(r.market_value)) / equity, 1) : "–") },
    { name: "unrealized", r: true, get: (r) => signed(r.unrealized_pnl), tone: (r) => tone(r.unrealized_pnl) },
    { name: "", get: (r) => (r.locked ? "locked" : ""), tone: () => "ill" },
  ], rows, "No holdings.");
}

function showOrders(rows) {
  put("n-orders", rows.length || "");
  table("orders", [
    { name: "symbol", get: (r) => symbolButton(r.symbol) },
    { name: "side", get: (r) => r.side },
    { name: "quantity", r: true, get: (r) => quantity(r.quantity) },
    { name: "limit", r: true, get: (r) => number(r.limit_price) },
    { name: "state", get: (r) => r.state, tone: (r) => stateTone(r.state) },
    { name: "filled", r: true, get: (r) => quantity(r.filled_quantity) },
    { name: "avg price", r: true, get: (r) => number(r.filled_avg_price) },
    { name: "sent", minor: true, get: (r) => time(r.sent_at) },
    { name: "why", text: true, get: (r) => r.state_reason || r.reason },
  ], rows, "No order in this session yet.");
}

function showDecisions(signals, forecasts, sentiment) {
  const forecast = new Map(forecasts.map((row) => [row.symbol, row]));
  const mood = new Map(sentiment.map((row) => [row.symbol, row]));
  const rank = { BUY: 0, SELL: 1, HOLD: 2 };
  const rows = signals.slice().sort((a, b) => (rank[a.action] ?? 3) - (rank[b.action] ?? 3) || Math.abs(b.kelly_weight) - Math.abs(a.kelly_weight));
  put("decisions-of", signals.length ? `of ${signals[0].run_id.slice(0, 10)}, choose a symbol for its story` : "");
  const of = (row, key) => (forecast.get(row.symbol) || {})[key];
  table("decisions", [
    { name: "symbol", get: (r) => symbolButton(r.symbol) },
    { name: "action", get: (r) => r.action, tone: (r) => ({ BUY: "good", SELL: "ill" })[r.action] || "" },
    { name: "weight %", r: true, get: (r) => number(100 * r.kelly_weight) },
    { name: "target", r: true, get: (r) => quantity(r.target_quantity) },
    { name: "P(up)", r: true, get: (r) => number(of(r, "probability_up")) },
    { name: "forecast %", r: true, get: (r) => signed(of(r, "quantiles") === undefined ? null : grown(middle(of(r, "quantiles")))) },
    { name: "source", minor: true, get: (r) => of(r, "source") },
    { name: "data until", minor: true, get: (r) => of(r, "data_cutoff") },
    { name: "sentiment", minor: true, r: true, get: (r) => (mood.has(r.symbol) ? signed(mood.get(r.symbol).score) : "–") },
    { name: "reason", text: true, get: (r) => r.reason },
  ], rows, "No decision yet.");
}

function showRuns(rows) {
  table("runs", [
    { name: "session", get: (r) => r.session_date },
    { name: "run", get: (r) => r.kind },
    { name: "ended", get: (r) => r.state, tone: (r) => stateTone(r.state) },
    { name: "", text: true, get: (r) => r.reason },
  ], rows.slice(0, 12), "Nothing has run yet.");
}

function reportLink(name) {
  const link = node("a", name);
  link.href = `/reports/${encodeURIComponent(name)}/report.html`;
  link.target = "_blank";
  link.rel = "noopener";
  return link;
}

function showScores(scores) {
  const standing = new Map(scores.standings.map((row) => [row.source, row]));
  put("n-matured", scores.matured ? `${scores.matured} of ${scores.locked} matured` : `${scores.locked} locked, none matured yet`);
  table("scores", [
    { name: "source", get: (r) => r.name },
    { name: "matured", r: true, get: (r) => r.count },
    { name: "right", r: true, get: (r) => `${number(100 * r.accuracy, 1)} %` },
    { name: "baseline", r: true, get: (r) => `${number(100 * r.baseline_accuracy, 1)} %` },
    { name: "Brier skill", r: true, get: (r) => signed(r.brier_skill, 3), tone: (r) => tone(r.brier_skill) },
    { name: "in 80 % band", r: true, minor: true, get: (r) => `${number(100 * r.coverage_of_80_band, 1)} %` },
    { name: "", get: (r) => (standing.get(r.name) && standing.get(r.name).is_demoted ? "demoted" : ""), tone: () => "ill" },
  ], scores.groups.source, "A forecast is scored when its horizon is over.");
}

function showReports(rows, periods) {
  $("periods").replaceChildren(...periods.slice(0, 8).map((row) => reportLink(row.name)));
  table("reports", [
    { name: "session", get: (r) => reportLink(r.session_date) },
    { name: "books", get: (r) => (r.is_reconciled ? "balance" : "NOT RECONCILED"), tone: (r) => (r.is_reconciled ? "good" : "ill") },
    { name: "residual", r: true, get: (r) => number(r.residual) },
    { name: "revision", r: true, get: (r) => r.revision },
  ], rows.slice(0, 30), "The first report comes after the close.");
}

function showIncidents(rows) {
  table("incidents", [
    { name: "at", get: (r) => day(r.at) },
    { name: "kind", get: (r) => r.kind },
    { name: "", text: true, get: (r) => r.text },
  ], rows.slice(0, 20), "Nothing out of the ordinary.");
}

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Two lanes on one axis: equity above, drawdown from its highest so far below.
function showCurve(rows) {
  const box = $("curve");
  if (rows.length < 2) { box.replaceChildren(node("p", "The curve begins with the first session.", "empty")); return; }
  const width = Math.max(300, box.clientWidth), height = 236, left = 8, right = 74;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Equity and drawdown" });
  const values = rows.map((row) => Number(row.equity));
  const mark = Number(overview.high_water_mark) || Math.max(...values);
  const limit = overview.limits.max_drawdown_pct;
  const x = (index) => left + ((width - left - right) * index) / (rows.length - 1);
  const lane = (top, bottom, low, high) => (value) => top + ((bottom - top) * (high - value)) / (high - low || 1);
  const draw = (numbers, y, base, kind) => {
    const points = numbers.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    chart.append(svg("polygon", { class: `area ${kind}`, points: `${left},${base} ${points} ${x(rows.length - 1).toFixed(1)},${base}` }));
    chart.append(svg("polyline", { class: `line ${kind}`, points }));
  };
  const rule = (y, text, kind) => {
    chart.append(svg("line", { class: kind, x1: left, x2: width - right, y1: y, y2: y }));
    chart.append(svg("text", { x: width - right + 6, y: y + 4 }, text));
  };
  const pad = (Math.max(...values, mark) - Math.min(...values)) * 0.08 || 1;
  const low = Math.min(...values) - pad, high = Math.max(...values, mark) + pad;
  const y = lane(10, 146, low, high);
  for (let step = 0; step <= 3; step += 1) rule(y(low + ((high - low) * step) / 3), number(low + ((high - low) * step) / 3, 0), "grid");
  draw(values, y, 146, "");
  // As the limits count it: what was deposited or withdrawn is neither gain nor loss.
  const lost = rows.map((row) => -row.drawdown_pct);
  const deepest = Math.min(...lost, -limit / 20);
  // The limit is drawn where it is near enough to matter, else it is only told.
  const isNear = -deepest > limit / 3;
  const depth = lane(164, 212, isNear ? Math.min(deepest, -limit) * 1.05 : deepest * 1.15, 0);
  rule(depth(0), "0 %", "grid");
  draw(lost, depth, depth(0), "fall");
  if (isNear) rule(depth(-limit), `halt −${limit} %`, "limit"); else rule(depth(deepest), `${number(deepest)} %`, "none");
  const ends = [rows[0], rows[rows.length - 1]];
  const isOneDay = ends[0].session_date === ends[1].session_date;
  const label = (row) => (isOneDay ? time(row.at).slice(0, 5) : row.session_date);
  chart.append(svg("text", { x: left, y: height - 6 }, label(ends[0])));
  chart.append(svg("text", { x: width - right, y: height - 6, "text-anchor": "end" }, label(ends[1])));
  box.replaceChildren(chart);
  put("curve-span", `high-water mark $${number(mark)}, trading halts ${limit} % below it`);
}

async function explain(symbol) {
  const body = $("story-body");
  $("story-title").textContent = `${symbol}: why`;
  body.replaceChildren(node("p", "reading…", "muted"));
  $("story").showModal();
  try {
    const date = overview.session.date ? `?date=${overview.session.date}` : "";
    let story;
    try { story = await read(`explain/${encodeURIComponent(symbol)}${date}`); } catch { story = await read(`explain/${encodeURIComponent(symbol)}`); }
    tell(body, story);
  } catch (error) {
    body.replaceChildren(node("p", error.message, "ill"));
  }
}

function tell(body, story) {
  body.replaceChildren();
  const line = (text, cls) => body.append(node("p", text, cls));
  const head = (text) => body.append(node("h3", text));
  const d = story.decision;
  head(`Session ${story.session_date}`);
  if (story.locked) line(`locked: ${story.locked}`, "ill");
  if (d) {
    line(`Data until ${d.data_cutoff || "–"}; last close ${number(d.last_close)}; held ${quantity(d.position)}.`);
    if (d.excluded) line(`left out: ${d.excluded}`, "warned");
    if (d.forecast) {
      head("Forecast");
      const { levels, quantiles } = d.forecast, last = levels.length - 1;
      const within = `${number(100 * (levels[last] - levels[0]), 0)} % within ${signed(grown(quantiles[0]))} to ${signed(grown(quantiles[last]))} %`;
      line(`${d.forecast.source} model ${d.forecast.model}, ${d.forecast.horizon} sessions ahead: P(up) ${number(d.forecast.probability_up, 3)}, middle ${signed(grown(middle(quantiles)))} %, ${within}.`);
    }
    if (d.sentiment) { head("Sentiment"); line(`${signed(d.sentiment.score)} (${d.sentiment.label}) from ${d.sentiment.headlines} headlines, ${d.sentiment.source}.`); }
    if (d.signals.length) {
      head("Signals");
      for (const s of d.signals) line(`${s.strategy}: ${s.action}, strength ${number(s.strength)}, ${s.reason}`);
    }
    if (d.combined) line(`together: ${d.combined.action}, Kelly weight ${number(100 * d.combined.kelly_weight)} %, target ${quantity(d.combined.target_quantity)}. ${d.combined.reason}`);
  }
  for (const order of story.orders) {
    head(`Order ${order.client_order_id}`);
    line(`${order.side} ${quantity(order.quantity)} at ${number(order.limit_price)}: ${order.state}${order.state_reason ? ` (${order.state_reason})` : ""}`);
    const box = node("div", null, "table");
    box.id = `checks-${order.client_order_id}`;
    body.append(box);
    table(box.id, [
      { name: "limit", get: (r) => r.limit },
      { name: "", get: (r) => (r.passed ? "passed" : "DENIED"), tone: (r) => (r.passed ? "good" : "ill") },
      { name: "figure", r: true, get: (r) => r.figure },
      { name: "bound", r: true, get: (r) => r.bound },
      { name: "", text: true, get: (r) => r.detail },
    ], order.checks, "No limit was asked.");
    const steps = [[order.created_at, "planned"], [order.sent_at, "sent"], [order.acknowledged_at, "taken by the broker"]];
    for (const fill of order.fills) steps.push([fill.at, `filled ${quantity(fill.quantity)} at ${number(fill.price)}`]);
    const told = node("ol", null, "steps");
    for (const [at, what] of steps.filter(([at]) => at)) {
      const item = node("li");
      item.append(node("span", time(at), "num muted"), node("span", what, what.startsWith("filled") ? "good" : ""));
      told.append(item);
    }
    body.insertBefore(told, box);
  }
  if (!story.orders.length) { head("Orders"); line("none", "muted"); }
}

async function control(verb) {
  const say = (text, cls = "") => put("control-said", text, cls);
  const token = $("token").value;
  if (!token) { say("The token is needed."); return; }
  if (verb === "kill" && !window.confirm("Stop trading and cancel every open order?")) return;
  say("Asking the daemon …", "warned");
  try {
    const answer = await fetch(`/api/v1/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify({ reason: $("reason").value || "button" }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const told = await answer.json();
    if (answer.ok) say(verb === "kill" ? "Latched; open orders are being canceled." : "Entries are paused.", "good");
    else say(typeof told.detail === "string" ? told.detail : `refused: ${answer.status}`, "ill");
  } catch (error) {
    const why = error.name === "TimeoutError" ? `no answer within ${ANSWER_MS / 1000} s` : error.message;
    say(`Not confirmed: ${why}. Type openbell ${verb} at the machine.`, "ill");
  }
}

let source = null;

function follow() {
  source = new EventSource("/api/v1/events");
  source.addEventListener("overview", (message) => {
    overview = JSON.parse(message.data);
    received = Date.now();
    unreadable = "";
    tick();
    showHead();
    const state = [overview.sequence, overview.equity_at, overview.started_at, overview.session.date].join();
    if (state !== shownState) {
      shownState = state;
      refresh();
    }
  });
  source.addEventListener("notice", () => refresh());
  source.addEventListener("unreadable", (message) => {
    unreadable = JSON.parse(message.data).detail;
    showBanner();
  });
  // After a refusal (too many pages, a daemon that starts) the browser would never try again.
  source.addEventListener("error", (event) => {
    if (event.target === source && source.readyState === EventSource.CLOSED) {
      setTimeout(() => { if (source === event.target) follow(); }, RETRY_MS);
    }
  });
}

// A browser opens six connections to one address: pages that nobody looks at would keep the
// buttons of the seventh from being heard.
function followWhileSeen() {
  if (document.visibilityState === "hidden") {
    source?.close();
    source = null;
    document.title = "openbell";
  } else if (!source) {
    opened = Date.now();
    follow();
  }
}

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
}

document.addEventListener("DOMContentLoaded", () => {
  try { theme(localStorage.getItem("theme")); } catch { /* storage may be off */ }
  const wanted = new URLSearchParams(location.search).get("theme");
  if (["dark", "light"].includes(wanted)) theme(wanted);
  $("theme").addEventListener("click", () => {
    const isDark = getComputedStyle(document.documentElement).getPropertyValue("--bg").trim() === "#10141b";
    const next = isDark ? "light" : "dark";
    theme(next);
    try { localStorage.setItem("theme", next); } catch { /* storage may be off */ }
  });
  $("story-close").addEventListener("click", () => $("story").close());
  $("pause").addEventListener("click", () => control("pause"));
  $("kill").addEventListener("click", () => control("kill"));
  $("control").addEventListener("submit", (event) => event.preventDefault());
  setInterval(tick, 250);
  follow();
  document.addEventListener("visibilitychange", followWhileSeen);
  followWhileSeen();
});
