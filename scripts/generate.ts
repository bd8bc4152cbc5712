/**
 * `npm run generate`: writes openapi.json, the types of the client, the Postman collection and the list of SQL statements.
 * A test fails if one of them is outdated.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { documents } from './documents.ts';

for (const [path, text] of Object.entries(await documents())) {
  const file = resolve(import.meta.dirname, '..', path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(path);
}
