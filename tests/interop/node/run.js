// The interop runner for Node: node run.js PLAN REPORT (see ../README.md).
'use strict';

const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');
const { connect, errorReader } = require('./product_search.js');

const [planFile, reportFile] = process.argv.slice(2);
const plan = JSON.parse(fs.readFileSync(planFile, 'utf8'));
const read = errorReader(plan.protos);
const clients = new Map();

function client(target) {
  if (!clients.has(target)) {
    const { address, ca, certificate, key } = plan.targets[target];
    const pem = (file) => (file ? fs.readFileSync(file) : null);
    const credentials = ca
      ? grpc.credentials.createSsl(pem(ca), pem(key), pem(certificate))
      : undefined;
    clients.set(target, connect(address, plan.protos, credentials));
  }
  return clients.get(target);
}

function call({ target, method, request, timeout_s: timeout }) {
  const options = timeout ? { deadline: Date.now() + timeout * 1000 } : {};
  return new Promise((resolve, reject) => {
    client(target)[method](request, options, (error, response) =>
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
    message: error.details,
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

const kinds = {
  unary: async (one) => answered(await call(one)),
  pages,
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
  for (const one of plan.cases) cases.push({ name: one.name, outcome: await outcome(one) });
  fs.writeFileSync(reportFile, JSON.stringify({ language: plan.language, cases }));
  for (const each of clients.values()) each.close();
}

main();
