/** Reference data for the rules: ISO codes, numbering plans, IDNA. All methods are pure and never throw. */
export interface ReferenceData {
  /** The ISO 3166-1 alpha-2 code in upper case; undefined if it is unassigned. Accepts any letter case. */
  countryCode(text: string): string | undefined;
  /** The ISO 639-1 code in lower case; undefined if it is unassigned. Accepts any letter case. */
  languageCode(text: string): string | undefined;
  /**
   * The number in E.164 (`+491701234567`); undefined if its length is impossible in its country. A number without `+`
   * is read as dialled in `countryCode`; if `countryCode` is undefined, the result is undefined too.
   */
  phoneNumber(text: string, countryCode: string | undefined): string | undefined;
  /** The domain in ASCII (IDNA, UTS #46), lower case; undefined if the text is not a domain. */
  asciiDomain(domain: string): string | undefined;
  /** Whether the text is an IP address of this version, without brackets. */
  isIpAddress(text: string, version: 4 | 6): boolean;
}
