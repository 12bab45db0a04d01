// What a service in a language without a client of its own writes once: a channel with the right
// options, a reader of error details, and bulk adds that hold back. docs/other-languages.md has the
// reasons.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const SERVICE = 'productsearch/v1/product_search.proto';
const DETAILS = 'google/rpc/error_details.proto';
const DOMAIN = 'productsearch.v1';
const MEBIBYTE = 1024 * 1024;

// Opens a client of the service at `target`. `protos` are the folders that hold the protos and
// google/rpc.
function connect(target, protos, credentials = grpc.credentials.createInsecure(), options = {}) {
  const definition = protoLoader.loadSync([SERVICE, DETAILS], {
    includeDirs: protos,
    longs: String, // a log_id has 64 bits, a number of JavaScript 53
    enums: String,
    json: true,
  });
  const { ProductSearch } = grpc.loadPackageDefinition(definition).productsearch.v1;
  const config = path.join(protos[0], 'productsearch/v1/product_search_grpc_service_config.json');
  return new ProductSearch(target, credentials, {
    'grpc.service_config': fs.readFileSync(config, 'utf8'),
    'grpc.per_rpc_retry_buffer_size': 4 * MEBIBYTE, // one image; 1 MiB is the default
    'grpc.keepalive_time_ms': 30_000, // the service allows a ping every 10 s
    'grpc.keepalive_timeout_ms': 10_000,
    ...options,
  });
}

// Returns a function that tells what an error of a call says, or the status of a bulk item.
function errorReader(protos) {
  const root = new protobuf.Root();
  root.resolvePath = (_, file) =>
    protos.map((folder) => path.join(folder, file)).find(fs.existsSync) ?? file;
  root.loadSync([DETAILS, 'google/rpc/status.proto', 'productsearch/v1/error_reason.proto']);
  const Status = root.lookupType('google.rpc.Status');
  const reasons = root.lookupEnum('productsearch.v1.ErrorReason').values;

  return function read(error) {
    const details = detailsOf(error, Status);
    const info = details.ErrorInfo?.domain === DOMAIN ? details.ErrorInfo : undefined;
    const metadata = info?.metadata ?? {};
    const delay = details.RetryInfo?.retryDelay;
    const violations = details.BadRequest?.fieldViolations ?? [];
    return {
      reason: info ? (info.reason in reasons ? info.reason : 'ERROR_REASON_UNSPECIFIED') : null,
      retryDelaySeconds: delay ? Number(delay.seconds ?? 0) + (delay.nanos ?? 0) / 1e9 : null,
      upstreamCode: metadata.upstreamCode ? Number(metadata.upstreamCode) : null,
      logId: metadata.logId ?? null, // decimal digits
      contSign: metadata.contSign ?? null,
      fieldViolations: Object.fromEntries(violations.map((v) => [v.field, v.description ?? ''])),
    };
  };
}

// Returns the details of an error by the last part of their type's name.
function detailsOf(error, Status) {
  const [packed] = error.metadata?.get('grpc-status-details-bin') ?? [];
  let status = error;
  try {
    if (packed) status = Status.toObject(Status.decode(packed), { json: true, longs: String });
  } catch {
    return {}; // not the details of this service
  }
  const details = Array.isArray(status.details) ? status.details : [];
  return Object.fromEntries(details.map((each) => [(each['@type'] ?? '').split('.').pop(), each]));
}

// A bulk stream that ended without a summary: send `unanswered` again, with DUPLICATE_POLICY_KEEP.
class BulkInterrupted extends Error {
  constructor(unanswered, cause) {
    super('the bulk stream ended without a summary', { cause });
    this.unanswered = unanswered;
  }
}

// Sends the items and yields {result} for each in the order of completion, then {summary}. Takes
// items only as fast as the service does, and at most `unansweredMax` ahead of the results. Leaving
// the loop cancels the stream, and so does aborting `signal`.
async function* bulkAdd(client, items, { settings, unansweredMax = 64, signal } = {}) {
  const stream = client.BulkAddImages();
  const unanswered = new Map();
  let over = false;
  let wake = () => {};
  const woken = () => new Promise((resolve) => (wake = resolve));
  stream.on('drain', () => wake());
  stream.on('error', () => {}); // whoever reads hears of it, but not after leaving
  signal?.addEventListener('abort', () => stream.cancel());

  async function send() {
    if (settings) stream.write({ settings });
    for await (const item of items) {
      while (!over && (unanswered.size >= unansweredMax || stream.writableNeedDrain)) await woken();
      unanswered.set(item.key, item);
      if (over) return;
      stream.write({ item });
    }
    stream.end();
  }

  const sending = send();
  sending.catch((fault) => stream.destroy(fault)); // what the items threw, to the reader
  let summary;
  let cause;
  try {
    for await (const response of stream) {
      if (response.result) {
        unanswered.delete(response.result.key);
        wake();
        yield response;
      }
      summary = response.summary ?? summary;
    }
  } catch (error) {
    cause = error;
  } finally {
    over = true;
    stream.cancel(); // has no effect once it is over
    wake();
  }
  if (summary && !unanswered.size) yield { summary };
  else {
    await sending; // the item that is being read is not lost
    throw new BulkInterrupted([...unanswered.values()], cause);
  }
}

module.exports = { connect, errorReader, bulkAdd, BulkInterrupted };
