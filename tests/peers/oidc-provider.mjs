// A certified OpenID Provider whose accounts log in by themselves, so that a test needs no hands.
//
//   node oidc-provider.mjs '{"port": …, "key": FILE, "certificate": FILE, "logout_uri": URL, "service_key": JWK,
//                            "signing_keys": FILE of {kid: private JWK, …}}'
//
// It writes "ready" when it listens, and ends when its standard input does. POST /test changes what comes next:
// {"login": {"account": …, "acr": …, "amr": […]}}, {"keys": ["two", "one"]} (the first signs), {"lifetime": seconds}.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import Provider, { interactionPolicy } from "oidc-provider";

const given = JSON.parse(process.argv[2]);
const issuer = `https://localhost:${given.port}`;
const accounts = {
  "u-4711": { username: "ana@acme.example", groups: ["/hvac", "/everybody"] },
  "u-4712": { username: "eve@acme.example", groups: [] },
};
const next = { account: "u-4711", acr: "pwd", amr: ["pwd"], keys: ["one", "two"], lifetime: 600 };
const stored = new Map();

class Memory {
  constructor(model) {
    this.model = model;
  }
  find = async (id) => this.alive(stored.get(`${this.model}:${id}`));
  findByUid = async (uid) => this.first((payload) => payload.uid === uid);
  findByUserCode = async (code) => this.first((payload) => payload.userCode === code);
  upsert = async (id, payload, seconds) => {
    const ends = seconds ? Date.now() + seconds * 1000 : Infinity;
    stored.set(`${this.model}:${id}`, { payload: structuredClone(payload), ends });
  };
  consume = async (id) => {
    stored.get(`${this.model}:${id}`).payload.consumed = Math.floor(Date.now() / 1000);
  };
  destroy = async (id) => stored.delete(`${this.model}:${id}`);
  revokeByGrantId = async (grant) => {
    for (const [key, { payload }] of stored) if (payload.grantId === grant) stored.delete(key);
  };
  alive = (entry) => (entry && entry.ends > Date.now() ? structuredClone(entry.payload) : undefined);
  first = (fits) => {
    for (const [key, entry] of stored) {
      if (key.startsWith(`${this.model}:`) && fits(entry.payload)) return this.alive(entry);
    }
  };
}

// Not made here: exporting a key that Node.js 20 has just made can hang for ever, when its garbage is collected then.
const signingKeys = JSON.parse(readFileSync(given.signing_keys));

const person = {
  token_endpoint_auth_method: "none",
  application_type: "native",
  grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
  redirect_uris: ["http://127.0.0.1/callback"],
  require_auth_time: true,
  id_token_signed_response_alg: "ES256",
};
const clients = [
  {
    ...person,
    client_id: "otb",
    backchannel_logout_uri: given.logout_uri,
    backchannel_logout_session_required: true,
  },
  { ...person, client_id: "payroll" },
  {
    client_id: "spiffe://acme.example/reporting",
    client_secret: "a secret+that needs:encoding",
    grant_types: ["client_credentials"],
    id_token_signed_response_alg: "ES256",
    redirect_uris: [],
    response_types: [],
  },
  {
    client_id: "spiffe://acme.example/metering",
    token_endpoint_auth_method: "private_key_jwt",
    token_endpoint_auth_signing_alg: "ES256",
    jwks: { keys: [given.service_key] },
    grant_types: ["client_credentials"],
    id_token_signed_response_alg: "ES256",
    redirect_uris: [],
    response_types: [],
  },
];

// Who logs in consents: a native application is not asked about again.
const policy = interactionPolicy.base();
policy.get("consent").checks.remove("native_client_prompt");

const configuration = {
  adapter: Memory,
  clients,
  cookies: { keys: ["only for tests"] },
  scopes: ["openid", "offline_access"],
  acrValues: ["pwd", "phr"],
  claims: { openid: ["sub"], acr: null, auth_time: null, amr: null, sid: null, iss: null },
  ttl: {
    AccessToken: () => next.lifetime,
    ClientCredentials: () => next.lifetime,
    DeviceCode: 60,
    AuthorizationCode: 60,
    IdToken: 600,
    RefreshToken: 3600,
    Session: 3600,
    Grant: 3600,
    Interaction: 600,
  },
  interactions: { policy, url: (_, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    backchannelLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: "",
        audience: resource,
        accessTokenFormat: "jwt",
        accessTokenTTL: next.lifetime,
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
  issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims(ctx, token) {
    if (token.kind === "ClientCredentials") return { username: token.clientId };
    const { AuthorizationCode, DeviceCode, RefreshToken } = ctx.oidc.entities;
    const { authTime, acr, amr, sid } = AuthorizationCode ?? DeviceCode ?? RefreshToken;
    return { ...accounts[token.accountId], auth_time: authTime, acr, amr, sid };
  },
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope("openid offline_access");
    for (const resource of [ctx.oidc.params.resource ?? []].flat()) grant.addResourceScope(resource, "");
    await grant.save();
    return grant;
  },
  // The library does not send to addresses of this machine, where the broker of the test is.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
};

let provider;
function serveKeys(kids) {
  provider = new Provider(issuer, { ...configuration, jwks: { keys: kids.map((kid) => signingKeys[kid]) } });
  for (const event of ["server_error", "backchannel.error"]) {
    provider.on(event, (_, error) => console.error(event, error));
  }
}
serveKeys(next.keys);

async function logIn(request, response) {
  const details = await provider.interactionDetails(request, response);
  if (details.prompt.name !== "login") throw new Error(`an interaction that is not expected: ${details.prompt.name}`);
  const { account: accountId, acr, amr } = next;
  const login = { accountId, acr: details.params.acr_values ?? acr, amr, ts: Math.floor(Date.now() / 1000) };
  await provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
}

async function told(request, response) {
  const chunks = await request.toArray();
  const { login, keys, ...others } = JSON.parse(Buffer.concat(chunks).toString());
  Object.assign(next, login, others);
  if (keys) serveKeys(keys);
  response.end();
}

const server = createServer({ key: readFileSync(given.key), cert: readFileSync(given.certificate) });
server.on("request", (request, response) => {
  const failed = (error) => {
    console.error(error);
    response.writeHead(500).end();
  };
  if (request.url.startsWith("/interaction/")) logIn(request, response).catch(failed);
  else if (request.url === "/test") told(request, response).catch(failed);
  else provider.callback()(request, response);
});
server.listen(given.port, "127.0.0.1", () => console.log("ready"));
process.stdin.resume().on("end", () => process.exit());
