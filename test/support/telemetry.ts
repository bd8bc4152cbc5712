import type { Telemetry } from '../../src/application/ports.ts';

/** Counts nothing. */
export const noTelemetry: Telemetry = {
  request() {},
  commit() {},
  read() {},
  connectionLost() {},
  logLost() {},
  keyLookup() {},
};
