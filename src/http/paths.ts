/**
 * A path as the router sees it: without origin, query and trailing slash, decoded, in lower case. Of one that cannot be
 * decoded the text.
 */
export function canonicalPath(url: string): string {
  const path = url
    .replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '')
    .replace(/[?#].*$/s, '')
    .replace(/(?<=.)\/$/, '');
  return decoded(path).toLowerCase();
}

function decoded(text: string): string {
  try {
    // Not an encoded slash, which is none between parts of a path.
    return decodeURI(text);
  } catch {
    return text;
  }
}
