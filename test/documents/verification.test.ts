/** The programs of docs/events.md that verify a delivery accept what a webhook sends, and nothing else. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import t from 'tap';

const page = readFileSync(join(import.meta.dirname, '../../docs/events.md'), 'utf8');
const programIn = (language: string): string => {
  const [, program] = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page) ?? [];
  if (program === undefined) throw new Error(`docs/events.md has no program in ${language}`);
  return program;
};
const has = (program: string, ...words: string[]): boolean => spawnSync(program, words).status === 0;

const secrets = [0, 1].map(() => `whsec_${randomBytes(32).toString('base64')}`) as [string, string];
const body = JSON.stringify({ type: 'customer.updated', data: { customerUrn: 'cu.00.1', note: 'Köln' } });

interface Delivery {
  readonly name: string;
  readonly isGenuine: boolean;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A delivery that is signed with these secrets. */
function signed(at: Date, ...keys: readonly string[]): Delivery['headers'] {
  const signatures = keys.map((key) => new Webhook(key).sign('msg_1', at, body));
  const timestamp = Math.floor(at.getTime() / 1000).toString();
  return { 'webhook-id': 'msg_1', 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}

const now = new Date();
const headers = signed(now, secrets[0]);
const hour = 3_600_000;
const deliveries: readonly Delivery[] = [
  { name: 'genuine', isGenuine: true, body, headers },
  { name: 'two signatures', isGenuine: true, body, headers: signed(now, secrets[1], secrets[0]) },
  { name: 'another secret', isGenuine: false, body, headers: signed(now, secrets[1]) },
  { name: 'another body', isGenuine: false, body: `${body} `, headers },
  { name: 'another id', isGenuine: false, body, headers: { ...headers, 'webhook-id': 'msg_2' } },
  { name: 'old', isGenuine: false, body, headers: signed(new Date(now.getTime() - hour), secrets[0]) },
  { name: 'from the future', isGenuine: false, body, headers: signed(new Date(now.getTime() + hour), secrets[0]) },
];
const expected = deliveries.map(({ isGenuine }) => isGenuine);

t.test('JavaScript', async (t) => {
  // Beside the tests, so that the library is found.
  const file = join(import.meta.dirname, `.verified-${process.pid}.mjs`);
  writeFileSync(file, programIn('js'));
  t.teardown(() => execFileSync('rm', [file]));
  const { verified } = await import(file);
  const isGenuine = ({ body, headers }: Delivery): boolean => {
    try {
      return verified(secrets[0], body, headers).type === 'customer.updated';
    } catch {
      return false;
    }
  };
  t.same(deliveries.map(isGenuine), expected);
});

t.test('Python', { skip: !has('python3', '--version') && 'there is no python3' }, async (t) => {
  const program = `${programIn('python')}
import sys
given = json.load(sys.stdin)
def genuine(one):
    try:
        return verified(given["secret"], one["body"].encode(), one["headers"])["type"] == "customer.updated"
    except ValueError:
        return False
print(json.dumps([genuine(one) for one in given["deliveries"]]))
`;
  const input = JSON.stringify({ secret: secrets[0], deliveries });
  t.same(JSON.parse(execFileSync('python3', ['-c', program], { input, encoding: 'utf8' })), expected);
});

t.test('Go', { skip: !has('go', 'version') && 'there is no go' }, async (t) => {
  const folder = t.testdir({ 'verify.go': programIn('go'), 'main.go': goMain, 'go.mod': 'module verify\n\ngo 1.18\n' });
  const input = JSON.stringify({ secret: secrets[0], deliveries });
  const env = { ...process.env, GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local', GO111MODULE: 'on' };
  t.same(JSON.parse(execFileSync('go', ['run', '.'], { cwd: folder, input, encoding: 'utf8', env })), expected);
});

const goMain = `package main

import (
	"encoding/json"
	"net/http"
	"os"
)

func main() {
	var given struct {
		Secret     string
		Deliveries []struct {
			Body    string
			Headers map[string]string
		}
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	genuine := []bool{}
	for _, one := range given.Deliveries {
		header := http.Header{}
		for name, value := range one.Headers {
			header.Set(name, value)
		}
		genuine = append(genuine, verify(given.Secret, []byte(one.Body), header) == nil)
	}
	if err := json.NewEncoder(os.Stdout).Encode(genuine); err != nil {
		panic(err)
	}
}
`;
