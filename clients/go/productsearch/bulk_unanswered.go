package productsearch

import (
	"slices"
	"sync"
)

// unansweredItems are the items of a bulk add without a result, in the order in which they were
// taken. There are at most unansweredMax of them, so a linear search is cheap.
type unansweredItems struct {
	mutex   sync.Mutex
	entries []unansweredItem
}

type unansweredItem struct {
	key  string
	item *BulkItem
}

// add notes an item; it returns false if another one with its key has no result either.
func (u *unansweredItems) add(item *BulkItem) (unique bool) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	key := item.GetKey()
	unique = !slices.ContainsFunc(u.entries, func(e unansweredItem) bool { return e.key == key })
	u.entries = append(u.entries, unansweredItem{key, item})
	return unique
}

// settle removes the item of a result and sets it in the result; it returns false if no
// unanswered item belongs to the result. A result that has its item already was made by this
// client.
func (u *unansweredItems) settle(result *BulkResult) bool {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	i := slices.IndexFunc(u.entries, func(e unansweredItem) bool {
		return e.key == result.Key && (result.Item == nil || e.item == result.Item)
	})
	if i < 0 {
		return false
	}
	result.Item = u.entries[i].item
	u.entries = slices.Delete(u.entries, i, i+1)
	return true
}

func (u *unansweredItems) items() []*BulkItem {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	var items []*BulkItem
	for _, e := range u.entries {
		items = append(items, e.item)
	}
	return items
}
