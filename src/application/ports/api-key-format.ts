import type { Environment } from './tenant-directory.ts';

/** Generates and parses API keys. Stores nothing. */
export interface ApiKeyFormat {
  /** A new API key: the environment's prefix, at least 190 random bits, and a checksum. */
  newApiKey(environment: Environment): string;
  /** The digest of a well-formed API key of this environment. Undefined for any other text, including mistyped keys. */
  apiKeyDigest(apiKey: string, environment: Environment): Uint8Array | undefined;
  /**
   * The beginning of a well-formed API key of any environment: the environment's prefix and three or four characters.
   * They are enough to recognise an API key, and too few to guess the rest, so they may appear in lists and logs.
   */
  shownPrefix(apiKey: string): string | undefined;
  /** A short random identifier that may appear in logs. */
  newId(): string;
}
