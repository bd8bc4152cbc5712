import type { Telemetry } from '../../application/ports/telemetry.ts';

/** Telemetry that discards everything, for commands of the command line. */
export const noTelemetry: Telemetry = {
  request() {},
  commit() {},
  read() {},
  connectionLost() {},
  webhookDelivery() {},
  webhooks() {},
  job() {},
  logLost() {},
  keyLookup() {},
  notAuthenticated() {},
};
