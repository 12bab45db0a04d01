// The interop runner for Node: node run.js PLAN REPORT (see ../README.md).
'use strict';

const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');
const { connect, errorReader, bulkAdd, BulkInterrupted } = require('./product_search.js');

const [planFile, reportFile] = process.argv.slice(2);
const plan = JSON.parse(fs.readFileSync(planFile, 'utf8'));
const read = errorReader(plan.protos);
const clients = new Map();

function open(target, options) {
  const { address, ca, certificate, key } = plan.targets[target];
  const pem = (file) => (file ? fs.readFileSync(file) : null);
  const credentials = ca
    ? grpc.credentials.createSsl(pem(ca), pem(key), pem(certificate))
    : undefined;
  return connect(address, plan.protos, credentials, options);
}

function client(target) {
  if (!clients.has(target)) clients.set(target, open(target));
  return clients.get(target);
}

function call({ target, method, request, timeout_s: timeout }, on = client(target)) {
  const options = timeout ? { deadline: Date.now() + timeout * 1000 } : {};
  return new Promise((resolve, reject) => {
    on[method](request, options, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

function answered(response) {
  const nothing = { message: null, reason: null, retry_delay_s: null, upstream_code: null };
  return { code: 'OK', response, ...nothing, log_id: null, cont_sign: null, field_violations: {} };
}

function failed(error) {
  if (!(error.code in grpc.status)) throw error;
  const said = read(error);
  return {
    code: grpc.status[error.code],
    response: null,
    message: error.message && !error.metadata ? error.message : error.details,
    reason: said.reason,
    retry_delay_s: said.retryDelaySeconds,
    upstream_code: said.upstreamCode,
    log_id: said.logId,
    cont_sign: said.contSign,
    field_violations: said.fieldViolations,
  };
}

async function pages(one) {
  const signs = [];
  let request = { ...one.request };
  for (;;) {
    const response = await call({ ...one, method: 'SearchImages', request });
    signs.push(...(response.results ?? []).map((result) => result.contSign));
    if (!response.nextPageToken) return { code: 'OK', signs };
    request = { ...request, pageToken: response.nextPageToken, skip: 0 };
  }
}

// Sends the items of a bulk case, notes the results, and returns what ended the stream.
async function send(target, items, settings, notes, onResult = async () => {}) {
  try {
    for await (const { result, summary } of bulkAdd(client(target), items, { settings })) {
      if (summary) return { summary };
      const { key, added, error } = result;
      notes.answers.set(key, (notes.answers.get(key) ?? 0) + 1);
      notes.results[key] = error ? failed(error) : answered(added ?? {});
      notes.order.push(key);
      await onResult();
    }
  } catch (error) {
    if (!(error instanceof BulkInterrupted)) throw error;
    return { interrupted: error };
  }
}

const newNotes = () => ({ answers: new Map(), results: {}, order: [] });

async function bulk(one) {
  const notes = newNotes();
  const { summary, interrupted } = await send(one.target, one.items, one.settings, notes);
  if (interrupted) throw interrupted;
  const place = new Map(one.items.map(({ key }, index) => [key, index]));
  const places = notes.order.map((key) => place.get(key));
  return {
    code: 'OK',
    results: notes.results,
    answers_max: Math.max(0, ...notes.answers.values()),
    out_of_order: places.some((each, index) => index > 0 && each < places[index - 1]),
    summary,
  };
}

function* endlessly(items) {
  for (let number = 0; ; number += 1)
    for (const item of items) yield { ...item, key: `${item.key}${number}` };
}

async function bulkCancel(one) {
  const leave = new AbortController();
  const options = { settings: one.settings, signal: leave.signal };
  let came = 0;
  let code = 'OK';
  try {
    for await (const { result } of bulkAdd(client(one.target), endlessly(one.items), options)) {
      if (result) came += 1;
      if (came === one.after) leave.abort();
    }
  } catch (error) {
    if (!(error instanceof BulkInterrupted)) throw error;
    code = grpc.status[error.cause.code];
  }
  return { code, enough: came >= one.after, after_cancel: await outcome(one.then) };
}

async function bulkDrain(one) {
  const notes = newNotes();
  let came = 0;
  const drain = async () => {
    came += 1;
    if (came === one.after) await fetch(`${plan.control}/drain/${one.target}`, { method: 'POST' });
  };
  const { interrupted } = await send(one.target, one.items, one.settings, notes, drain);
  const left = one.items.filter(({ key }) => !(key in notes.results));
  const settings = { ...one.settings, duplicatePolicy: 'DUPLICATE_POLICY_KEEP' };
  const again = await send(one.then_target, left, settings, notes);
  if (again.interrupted) throw again.interrupted;
  const answers = Object.values(notes.results);
  return {
    interrupted: interrupted !== undefined,
    reason: interrupted?.cause ? read(interrupted.cause).reason : null,
    resent: left.length,
    answered: answers.length,
    failed: answers.filter(({ code }) => code !== 'OK').length,
  };
}

async function keepalive(one) {
  const own = open(one.target, {
    'grpc.keepalive_time_ms': one.interval_s * 1000,
    'grpc.keepalive_permit_without_calls': 1,
  });
  const code = () => call(one, own).then(() => 'OK', (error) => grpc.status[error.code]);
  const first = await code();
  const channel = own.getChannel();
  const ready = grpc.connectivityState.READY;
  const disconnected = await new Promise((resolve) =>
    channel.watchConnectivityState(ready, Date.now() + one.seconds * 1000, (late) => resolve(!late)),
  );
  const last = await code();
  own.close();
  return { first, last, disconnected };
}

const kinds = {
  unary: async (one) => answered(await call(one)),
  pages,
  bulk,
  bulk_cancel: bulkCancel,
  bulk_drain: bulkDrain,
  keepalive,
};

async function outcome(one) {
  if (!(one.kind in kinds)) return { unsupported: true };
  try {
    return await kinds[one.kind](one);
  } catch (error) {
    try {
      return failed(error);
    } catch (fault) {
      return { crashed: String(fault.stack) };
    }
  }
}

async function main() {
  const cases = [];
  const report = async (one) => cases.push({ name: one.name, outcome: await outcome(one) });
  const waiting = plan.cases.filter(({ kind }) => kind === 'keepalive').map(report);
  for (const one of plan.cases) if (one.kind !== 'keepalive') await report(one);
  await Promise.all(waiting);
  fs.writeFileSync(reportFile, JSON.stringify({ language: plan.language, cases }));
  for (const each of clients.values()) each.close();
}

main();
