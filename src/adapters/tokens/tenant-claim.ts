import { isObject } from '../../domain/field-schema.ts';

/**
 * The value of the claim with this name. A name with dots is the name of one claim (`https://acme.example/tenant`), or the
 * path to a member of a claim (`org.id`, `https://acme.example/claims.tenant`). Of several readings the one with the
 * longest name wins. Undefined if there is no such claim. Inherited properties and members of arrays are not read.
 */
export function claimAt(claims: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  for (let dot = name.lastIndexOf('.'); dot > 0; dot = name.lastIndexOf('.', dot - 1)) {
    const outer = name.slice(0, dot);
    const inner = Object.hasOwn(claims, outer) ? claims[outer] : undefined;
    const found = isObject(inner) ? claimAt(inner, name.slice(dot + 1)) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
