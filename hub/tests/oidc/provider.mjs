// An identity provider on this host, for the hub's tests: a real one (npm's oidc-provider), with people who sign in by saying who they are.
//
// It prints its address and serves until its standard input ends. Environment: HUB (the hub's address), SECRET (the client's secret).
import http from 'node:http';
import Provider from 'oidc-provider';

const people = {
  kim: { name: 'Kim Example', groups: ['shop-ops', 'all'] },
  ada: { name: 'Ada <script>', groups: ['it'] },
  nobody: { name: 'Nobody', groups: ['others'] },
};

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
    clients: [{ client_id: 'skerry', client_secret: process.env.SECRET, redirect_uris: [`${process.env.HUB}/sign-in/oidc/callback`] }],
    scopes: ['openid', 'profile', 'email', 'groups'],
    claims: { openid: ['sub'], profile: ['name'], email: ['email'], groups: ['groups'] },
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true, methods: ['S256'] },
    findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub, ...people[sub] }) }),
  });
  console.log(issuer);
});

process.stdin.on('end', () => process.exit(0)).resume();
