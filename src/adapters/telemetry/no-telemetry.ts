import type { Telemetry } from '../../application/ports/telemetry.ts';

/** Counts nothing: for commands that serve nobody. */
export const noTelemetry: Telemetry = {
  request() {},
  commit() {},
  read() {},
  connectionLost() {},
  logLost() {},
  keyLookup() {},
  notAuthenticated() {},
};
