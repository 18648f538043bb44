// An identity provider on this host, for the hub's tests: a real one (npm's oidc-provider), with people who sign in by saying who they are.
//
// People whose name begins with `forged-` have their ID token made again by somebody in the middle, wrong in the one way that the name says.
//
// It prints its address and serves until its standard input ends. Environment: HUB (the hub's address), SECRET (the client's secret).
import crypto from 'node:crypto';
import http from 'node:http';
import Provider from 'oidc-provider';

const people = {
  kim: { name: 'Kim Example', groups: ['shop-ops', 'all'] },
  ada: { name: 'Ada <script>', groups: ['it'] },
  nobody: { name: 'Nobody', groups: ['others'] },
};

const newKey = () => crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
const [own, foreign] = [newKey(), newKey()];
const kid = 'own';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const rsa = (text, key) => crypto.sign('RSA-SHA256', Buffer.from(text), key.privateKey).toString('base64url');
const hmac = (text, secret) => crypto.createHmac('sha256', secret).update(text).digest('base64url');

function token(claims, { header = {}, sign = (text) => rsa(text, own) } = {}) {
  const text = `${encode({ alg: 'RS256', typ: 'JWT', kid, ...header })}.${encode(claims)}`;
  return `${text}.${sign(text)}`;
}

// The first ID token of each person, for those who show it again.
const kept = new Map();
const hour = 3600;

// Each takes the claims of an ID token that holds. The first forges nothing: what the others are refused for is what their names say.
const forgeries = {
  'forged-nothing': (claims) => token(claims),
  'forged-by-another-key': (claims) => token(claims, { sign: (text) => rsa(text, foreign) }),
  'forged-by-an-unknown-key': (claims) => token(claims, { header: { kid: 'foreign' }, sign: (text) => rsa(text, foreign) }),
  'forged-key-inside': (claims) => token(claims, {
    header: { kid: undefined, jwk: foreign.publicKey.export({ format: 'jwk' }) }, sign: (text) => rsa(text, foreign),
  }),
  'forged-issuer': (claims) => token({ ...claims, iss: 'https://id.example' }),
  'forged-audience': (claims) => token({ ...claims, aud: 'another' }),
  'forged-audiences': (claims) => token({ ...claims, aud: [claims.aud, 'another'], azp: 'another' }),
  'forged-expired': (claims) => token({ ...claims, iat: claims.iat - 2 * hour, exp: claims.iat - hour }),
  'forged-unsigned': (claims) => token(claims, { header: { alg: 'none', kid: undefined }, sign: () => '' }),
  'forged-hmac-of-the-public-key': (claims) => token(claims, {
    header: { alg: 'HS256' }, sign: (text) => hmac(text, own.publicKey.export({ type: 'spki', format: 'pem' })),
  }),
  'forged-signature': (claims) => token(claims, { sign: () => rsa('something else', own) }),
  'forged-nonce': (claims) => token({ ...claims, nonce: 'made-up' }),
  'forged-without-nonce': (claims) => token({ ...claims, nonce: undefined }),
  'forged-replay': (claims) => {
    if (!kept.has(claims.sub)) kept.set(claims.sub, token(claims));
    return kept.get(claims.sub);
  },
  'forged-access-token': (claims) => token({ ...claims, at_hash: Buffer.alloc(16).toString('base64url') }),
};
const everybody = (sub) => ({ sub, ...(sub in forgeries ? { name: sub, groups: ['shop-ops'] } : people[sub]) });

let provider;
const server = http.createServer((request, response) => {
  if (request.url.startsWith('/interaction/')) {
    finish(request, response).catch((error) => response.writeHead(500).end(String(error)));
  } else {
    provider.callback()(request, response);
  }
});

// Whoever the header `x-person` names has signed in and agreed; without one, they decline.
async function finish(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const accountId = request.headers['x-person'];
  if (!accountId) {
    await provider.interactionFinished(request, response, { error: 'access_denied' });
    return;
  }
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const grantId = await grant.save();
  await provider.interactionFinished(request, response, { login: { accountId }, consent: { grantId } });
}

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, {
    jwks: { keys: [{ ...own.privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }] },
    clients: [{ client_id: 'skerry', client_secret: process.env.SECRET, redirect_uris: [`${process.env.HUB}/sign-in/oidc/callback`] }],
    scopes: ['openid', 'profile', 'email', 'groups'],
    claims: { openid: ['sub'], profile: ['name'], email: ['email'], groups: ['groups'] },
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true, methods: ['S256'] },
    findAccount: (_context, sub) => ({ accountId: sub, claims: () => everybody(sub) }),
  });
  provider.use(async (context, next) => {
    await next();
    if (context.path !== '/token' || !context.body?.id_token) return;
    const claims = JSON.parse(Buffer.from(context.body.id_token.split('.')[1], 'base64url'));
    const forge = forgeries[claims.sub];
    if (forge) context.body = { ...context.body, id_token: forge(claims) };
  });
  console.log(issuer);
});

process.stdin.on('end', () => process.exit(0)).resume();
