import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import manifest from '../package.json' with { type: 'json' };
import { commands } from '../src/adapters/cli/commands.ts';
import { optionOf, settings } from '../src/config.ts';
import { serve } from '../src/process/serve.ts';

const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'];
const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const matches = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1] as string);

const optionsOfTools = ['--header', '--now', '--omit'];

for (const document of documents) {
  const text = read(document);

  t.test(`${document} names scripts that exist`, async (t) => {
    const builtIn = ['ci', 'install', 'pack', 'start', 'test'];
    for (const script of matches(text, /npm run (?:-s )?([\w:-]+)/g)) t.hasProp(manifest.scripts, script);
    for (const command of matches(text, /npm (?!run)([a-z]+)/g)) {
      if (command !== 'and') t.ok(builtIn.includes(command) || command in manifest.scripts, `npm ${command}`);
    }
  });

  t.test(`${document} names files that exist`, async (t) => {
    const paths = matches(
      text,
      /(?<![\w/.:])((?:src|test|docs|postman|scripts|bench|packaging|\.ci)\/[\w./-]*\w|\w+\.md)/g,
    );
    for (const path of paths) t.ok(existsSync(new URL(`../${path}`, import.meta.url)), path);
  });

  t.test(`${document} names commands and options that exist`, async (t) => {
    const all = [serve, ...commands];
    for (const words of matches(text, /c2a -- ([a-z-]+(?: [a-z-]+)?)/g)) {
      t.ok(
        all.some(({ name }) => words === name || words.startsWith(`${name} `)),
        `c2a ${words}`,
      );
    }
    for (const word of matches(text, /^(?:\.\/dist\/|sudo -u [\w-]+ )?c2a ((?:--)?[a-z]+)/gm)) {
      t.ok(
        all.some(({ name }) => name.split(' ')[0] === word),
        `c2a ${word}`,
      );
    }
    const known = [
      '--json',
      '--help',
      ...optionsOfTools,
      ...all.map(({ name }) => name),
      ...all.flatMap(({ options }) => Object.keys(options).map((name) => `--${name}`)),
    ];
    for (const option of matches(text, /(?<![\w-])(--[a-z][a-z-]+)/g)) t.ok(known.includes(option), option);
  });

  t.test(`${document} names variables that exist`, async (t) => {
    for (const variable of matches(text, /\b(C2A_\w+)/g)) t.hasProp(settings.properties, variable);
  });
}

t.test('README.md has every setting with its default', async (t) => {
  const readme = read('README.md');
  for (const [variable, { default: fallback }] of Object.entries(settings.properties)) {
    t.match(
      readme,
      `| \`${variable}\` | ${fallback === '' ? '' : `\`${fallback}\` `}|`,
      `${variable}, --${optionOf(variable)}`,
    );
  }
});
