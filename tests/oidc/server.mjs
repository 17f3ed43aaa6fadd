// A certified OAuth 2 / OpenID Connect server (npm oidc-provider) as an EHR's token service. Its person signs in and says yes by itself.
// env: PORT, AUDIENCE (the FHIR base), JWKS_FILE (the gateway's public keys), REDIRECT, PATIENT (the patient of each launch). Prints a line
// when it listens. /seen tells how many tokens were revoked.
import fs from 'node:fs';
import http from 'node:http';
import { Provider } from 'oidc-provider';

const issuer = `http://127.0.0.1:${process.env.PORT}`;
const audience = process.env.AUDIENCE;
const jwks = JSON.parse(fs.readFileSync(process.env.JWKS_FILE));
const system = ['system/Patient.rs', 'system/CarePlan.rs', 'system/Communication.crs'];
const user = ['user/Appointment.rs', 'user/Patient.rs'];

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'gateway', token_endpoint_auth_method: 'private_key_jwt', grant_types: ['client_credentials'], redirect_uris: [],
      response_types: [], jwks, scope: system.join(' ') },
    { client_id: 'basic', client_secret: 'a secret & more', token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: system.join(' ') },
    { client_id: 'post', client_secret: 'a secret & more', token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: system.join(' ') },
    { client_id: 'desk', token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'], application_type: 'native',
      redirect_uris: [process.env.REDIRECT], response_types: ['code'], scope: ['openid', 'fhirUser', 'offline_access', ...user].join(' ') },
    { client_id: 'app', client_secret: 'a secret & more', token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['authorization_code', 'refresh_token'], application_type: 'native', redirect_uris: [process.env.REDIRECT],
      response_types: ['code'], scope: ['openid', 'fhirUser', 'launch/patient', 'offline_access', ...user].join(' ') },
  ],
  scopes: ['openid', 'fhirUser', 'launch/patient', 'offline_access', ...system, ...user],
  claims: { openid: ['sub'], fhirUser: ['fhirUser'] },
  conformIdTokenClaims: false,
  enabledJWA: { clientAuthSigningAlgValues: ['RS384', 'ES384'] },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: [...system, ...user].join(' '), audience, accessTokenTTL: 300, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, fhirUser: `${audience}/Practitioner/7` }) }),
  rotateRefreshToken: true,
  ttl: { ClientCredentials: 300, RefreshToken: 86400 },
  pkce: { required: () => true },
});

// The launch's patient comes beside the token, as SMART has it.
provider.use(async (context, next) => {
  await next();
  if (process.env.PATIENT && context.path === '/token' && context.body?.id_token) context.body.patient = process.env.PATIENT;
});

let revoked = 0;
const answer = provider.callback();
http.createServer(async (request, response) => {
  if (request.url === '/seen') return response.end(JSON.stringify({ revoked }));
  if (request.url === '/token/revocation') response.on('finish', () => { if (response.statusCode === 200) revoked += 1; });
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: 'person' } }, { mergeWithLastSubmission: false });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  grant.addResourceScope(audience, user.join(' '));
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}).listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listening'));
