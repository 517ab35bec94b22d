// What a shop asks Klaviyo's own SDK, call after call; prints each answer as the SDK gives it.
import { ApiKeySession, EventsApi, ListsApi, ProfilesApi, RetryWithExponentialBackoff } from 'klaviyo-api'

const session = new ApiKeySession('pk_shop', new RetryWithExponentialBackoff({ numRetries: 0 }))
const [profiles, events, lists] = [new ProfilesApi(session), new EventsApi(session), new ListsApi(session)]
for (const api of [profiles, events, lists]) api.basePath = process.env.KLAVIYO_URL

const profile = (attributes, id) => ({ data: { type: 'profile', ...(id && { id }), attributes } })
const metric = (name) => ({ data: { type: 'metric', attributes: { name } } })
const time = new Date('2026-03-18T10:52:17Z')
const event = (uniqueId, who, name = 'Placed Order') => ({
  data: {
    type: 'event',
    attributes: { uniqueId, time, value: 12.5, properties: { 'Größe': 'L', list: [1, null] }, metric: metric(name), profile: profile(who) },
  },
})
const eventsOf = (who, ...keys) => ({
  type: 'event-bulk-create',
  attributes: {
    profile: profile(who),
    events: { data: keys.map((uniqueId) => ({ type: 'event', attributes: { uniqueId, time, properties: { a: 1 }, metric: metric('Synced') } })) },
  },
})
const consent = (email, listId) => ({
  data: {
    type: 'profile-subscription-bulk-create-job',
    attributes: {
      profiles: {
        data: [{ type: 'profile', attributes: { email, subscriptions: { email: { marketing: { consent: 'SUBSCRIBED' } } } } }],
      },
    },
    relationships: { list: { data: { type: 'list', id: listId } } },
  },
})

async function say(name, call) {
  let response, body
  try {
    ({ response, body } = await call)
  } catch (error) {
    if (!error.response) throw error
    response = error.response
  }
  const { date, ...headers } = response.headers
  console.log(JSON.stringify({ name, status: response.status, headers, data: response.data, body }))
  return body?.data
}

const ada = { externalId: '1815', email: 'ada@shop.test' }
const made = await say('create or update', profiles.createOrUpdateProfile(profile({ ...ada, firstName: 'Ada', properties: { plan: 'gold' } })))
await say('create or update again', profiles.createOrUpdateProfile(profile({ ...ada, title: 'Ms' })))
await say('create what there is', profiles.createProfile(profile(ada)))
await say('create another', profiles.createProfile(profile({ externalId: '1852', email: 'byron@shop.test' })))
await say('update', profiles.updateProfile(made.id, profile({ lastName: 'Lovelace' }, made.id)))
await say('create an event', events.createEvent(event('order-7', ada)))
await say('create a bad event', events.createEvent(event('order-8', {}, 'Placed Order')))
await say('change the email', profiles.updateProfile(made.id, profile({ email: 'ada@new.test' }, made.id)))
await say('bulk events', events.bulkCreateEvents({
  data: {
    type: 'event-bulk-create-job',
    attributes: { eventsBulkCreate: { data: [eventsOf({ email: 'ada@new.test' }, 'a', 'b'), eventsOf({ email: 'byron@shop.test' }, 'c')] } },
  },
}))
const [{ id: list }] = await say('lists', lists.getLists())
await say('subscribe', profiles.bulkSubscribeProfiles(consent('ada@new.test', list)))
await say('profiles', profiles.getProfiles({ filter: 'equals(email,"ada@new.test")' }))
await say('a profile', profiles.getProfile(made.id))
await say('nobody', profiles.getProfile('01NOBODY0000000000000000'))
