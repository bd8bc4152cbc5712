/** The codes of the rules that a request can break. They are part of the published API: callers may depend on them. */
export type ViolationCode =
  | 'required'
  | 'invalid_type'
  | 'invalid_format'
  | 'invalid_value'
  | 'too_long'
  | 'reserved'
  | 'unknown_field'
  | 'exactly_one';

/** One broken rule. `message` never repeats a submitted value, which may be personal data. */
export interface Violation {
  /** Path from the root of the request, e.g. `customer.email`. */
  readonly field: string;
  readonly code: ViolationCode;
  readonly message: string;
}

export const violation = (field: string, code: ViolationCode, message: string): Violation => ({ field, code, message });
export const requiredViolation = (field: string): Violation => violation(field, 'required', 'Is required.');

/** The result of parsing: a value, or the violations found instead. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly violations: readonly Violation[] };

export const accepted = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const refused = (violations: readonly Violation[]): Parsed<never> => ({ ok: false, violations });

/**
 * The first violation of each field, in the given order, so that a malformed field is not also reported as missing.
 * Keeps every `unknown_field` and `exactly_one` violation, because its path may also be the path of another violation.
 */
export function onePerField(violations: readonly Violation[]): Violation[] {
  const seen = new Set<string>();
  return violations.filter(({ field, code }) => {
    if (code === 'unknown_field' || code === 'exactly_one') return true;
    const isFirst = !seen.has(field);
    seen.add(field);
    return isFirst;
  });
}
