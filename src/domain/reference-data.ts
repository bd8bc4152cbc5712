/**
 * Knowledge of the outside world that rules need but that nobody should write by hand: ISO tables, numbering
 * plans, IDNA. The domain says what it asks; `adapters/reference-data.ts` answers from kept libraries.
 * All methods are pure and never throw.
 */
export interface ReferenceData {
  /** The ISO 3166-1 alpha-2 code in upper case, or undefined where it is not assigned. Any letter case is accepted. */
  countryCode(text: string): string | undefined;
  /** The ISO 639-1 code in lower case, or undefined where there is none. Any letter case is accepted. */
  languageCode(text: string): string | undefined;
  /**
   * The number in E.164 (`+491701234567`), or undefined where no such number is possible. A number without
   * `+` is read as dialled within `countryCode`, and is none where that is undefined.
   */
  phoneNumber(text: string, countryCode: string | undefined): string | undefined;
  /** The domain in ASCII (IDNA, UTS #46), lower case, or undefined where it cannot be a domain. */
  asciiDomain(domain: string): string | undefined;
  /** Whether the text is an IP address of this version, without brackets. */
  isIpAddress(text: string, version: 4 | 6): boolean;
}
