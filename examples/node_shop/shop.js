// A shop on Node with Klaviyo's own SDK, as it has been for years. Only KLAVIYO_URL leads it to the gateway:
// each API of the SDK has a `basePath`, which is https://a.klaviyo.com otherwise.
import { ApiKeySession, EventsApi, ProfilesApi, RetryWithExponentialBackoff } from 'klaviyo-api'

const session = new ApiKeySession(process.env.KLAVIYO_API_KEY, new RetryWithExponentialBackoff({ numRetries: 0 }))
const profiles = new ProfilesApi(session)
const events = new EventsApi(session)
if (process.env.KLAVIYO_URL) {
  for (const api of [profiles, events]) api.basePath = process.env.KLAVIYO_URL
}

async function signUp(externalId, email) {
  const answer = await profiles.createOrUpdateProfile({ data: { type: 'profile', attributes: { externalId, email } } })
  return answer.body.data.id
}

async function changeAddress(id, email) {
  await profiles.updateProfile(id, { data: { type: 'profile', id, attributes: { email } } })
}

async function happened(name, uniqueId, who) {
  const metric = { data: { type: 'metric', attributes: { name } } }
  const profile = { data: { type: 'profile', attributes: who } }
  await events.createEvent({ data: { type: 'event', attributes: { uniqueId, properties: {}, metric, profile } } })
}

// A day of it: the order's confirmation and its shipping go to the address that the order was made with.
const id = await signUp('1815', 'ada@shop.test')
await happened('Placed Order', 'order-7', { externalId: '1815', email: 'ada@shop.test' })
await changeAddress(id, 'ada@new.test')
await happened('Shipped Order', 'shipped-7', { email: 'ada@shop.test' })
