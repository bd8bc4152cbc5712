/** Which addresses a webhook may be delivered to. */
import { BlockList } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { addressRule } from '../../../src/adapters/webhooks/addresses.ts';

const rule = addressRule('off');

/** The first and the last address of each refused network, and their neighbours outside of it where these are public. */
const networks: readonly (readonly [name: string, refused: readonly string[], allowed: readonly string[]])[] = [
  ['0.0.0.0/8', ['0.0.0.0', '0.255.255.255'], ['1.0.0.0']],
  ['10.0.0.0/8', ['10.0.0.0', '10.255.255.255'], ['9.255.255.255', '11.0.0.0']],
  ['100.64.0.0/10', ['100.64.0.0', '100.127.255.255'], ['100.63.255.255', '100.128.0.0']],
  ['127.0.0.0/8', ['127.0.0.0', '127.0.0.1', '127.255.255.255'], ['126.255.255.255', '128.0.0.0']],
  ['169.254.0.0/16', ['169.254.0.0', '169.254.169.254', '169.254.255.255'], ['169.253.255.255', '169.255.0.0']],
  ['172.16.0.0/12', ['172.16.0.0', '172.31.255.255'], ['172.15.255.255', '172.32.0.0']],
  ['192.0.0.0/24', ['192.0.0.0', '192.0.0.192', '192.0.0.255'], ['191.255.255.255', '192.0.1.0']],
  ['192.0.2.0/24', ['192.0.2.0', '192.0.2.255'], ['192.0.1.255', '192.0.3.0']],
  ['192.88.99.0/24', ['192.88.99.0', '192.88.99.255'], ['192.88.98.255', '192.88.100.0']],
  ['192.168.0.0/16', ['192.168.0.0', '192.168.255.255'], ['192.167.255.255', '192.169.0.0']],
  ['198.18.0.0/15', ['198.18.0.0', '198.19.255.255'], ['198.17.255.255', '198.20.0.0']],
  ['198.51.100.0/24', ['198.51.100.0', '198.51.100.255'], ['198.51.99.255', '198.51.101.0']],
  ['203.0.113.0/24', ['203.0.113.0', '203.0.113.255'], ['203.0.112.255', '203.0.114.0']],
  ['224.0.0.0/4', ['224.0.0.0', '239.255.255.255'], ['223.255.255.255']],
  ['240.0.0.0/4', ['240.0.0.0', '255.255.255.255'], []],
  ['metadata of Azure', ['168.63.129.16'], ['168.63.129.15', '168.63.129.17']],
  ['unspecified and loopback', ['::', '::1'], []],
  ['IPv4-compatible', ['::127.0.0.1', '::8.8.8.8', '::808:808'], []],
  ['IPv4-mapped', ['::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.0.0.1', '::ffff:8.8.8.8'], []],
  ['IPv4-translated', ['::ffff:0:127.0.0.1'], []],
  ['NAT64', ['64:ff9b::127.0.0.1', '64:ff9b::8.8.8.8', '64:ff9b:1::1'], []],
  ['discard-only', ['100::1'], []],
  ['protocols', ['2001::', '2001:0:4136:e378::1', '2001:2::1', '2001:10::1', '2001:1ff:ffff::'], ['2001:200::']],
  ['documentation', ['2001:db8::', '2001:db8:ffff::1', '3fff::1', '3fff:fff::'], ['2001:db7::', '2001:db9::']],
  ['6to4', ['2002::', '2002:7f00:1::', '2002:808:808::1'], ['2003::1']],
  ['unique-local', ['fc00::', 'fd00:ec2::254', 'fdff::1'], []],
  ['link-local', ['fe80::1', 'fe80::1%eth0', 'febf::1'], []],
  ['site-local', ['fec0::1'], []],
  ['multicast', ['ff00::', 'ff02::1'], []],
  ['global unicast', [], ['2000::1', '2606:4700:4700::1111', '2a00:1450::1', '3ffe::1', '8.8.8.8', '1.1.1.1']],
  ['not allocated', ['4000::1', 'e000::1', '1fff::1'], []],
  [
    'no address',
    ['', 'localhost', '127.1', '0x7f000001', '2130706433', '0177.0.0.1', '127.0.0.1 ', '[::1]', '1.1.1'],
    [],
  ],
];

for (const [name, refused, allowed] of networks) {
  t.test(name, async (t) => {
    for (const address of refused) t.type(rule(address), 'string', address);
    for (const address of allowed) t.equal(rule(address), undefined, address);
  });
}

const octets = fc.tuple(...[1, 2, 3, 4].map(() => fc.nat(255)));
const groupsOf = ([a = 0, b = 0, c = 0, d = 0]: number[]) => [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];

t.test('no IPv6 form of any IPv4 address is allowed', async (t) => {
  const forms: readonly ((address: number[]) => string)[] = [
    (address) => `::ffff:${address.join('.')}`,
    (address) => `::FFFF:${groupsOf(address).join(':')}`,
    (address) => `0:0:0:0:0:ffff:${groupsOf(address).join(':')}`,
    (address) => `::${address.join('.')}`,
    (address) => `64:ff9b::${address.join('.')}`,
    (address) => `2002:${groupsOf(address).join(':')}::1`,
    (address) => `2001:0:${groupsOf(address).join(':')}::`,
  ];
  fc.assert(
    fc.property(octets, fc.constantFrom(...forms), (address, form) => rule(form(address)) !== undefined),
    { numRuns: 2_000 },
  );
  t.pass();
});

t.test('an IPv4 address has one verdict, whatever network the operator allows beside it', async (t) => {
  const other = addressRule('192.168.7.0/24,fd00:7::/32');
  const list = new BlockList();
  list.addSubnet('192.168.7.0', 24);
  fc.assert(
    fc.property(octets, (parts) => {
      const address = parts.join('.');
      return list.check(address) ? other(address) === undefined : other(address) === rule(address);
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

t.test('networks that the operator allows', async (t) => {
  const allows = (networks: string, address: string) => addressRule(networks)(address) === undefined;
  t.ok(allows('10.0.0.0/8', '10.200.0.1'));
  t.ok(allows('10.0.0.0/8', '::ffff:10.200.0.1'), 'the same address');
  t.notOk(allows('10.0.0.0/8', '127.0.0.1'));
  t.notOk(allows('10.0.0.0/8', '192.168.0.1'));
  t.ok(allows('192.168.1.7', '192.168.1.7'));
  t.notOk(allows('192.168.1.7', '192.168.1.8'));
  t.ok(allows('127.0.0.1,::1', '::1'));
  t.notOk(allows('127.0.0.1,::1', '::2'));
  t.ok(allows('fd00:1::/32,10.0.0.0/8', 'fd00:1::9'));
  t.notOk(allows('fd00:1::/32', 'fd00:2::9'));
  t.notOk(allows('fd00:1::/32', '10.0.0.1'));
});
