package githubtest

// spoiling is the key under which a request's context has the Fault that spoils
// the answer.
type spoiling struct{}

// NullNode is a page of GraphQL's one of whose nodes is null.
func NullNode() Fault { return Fault{NullNodes: 1} }

// LostNode is a page of GraphQL's that has one node less than it should, while
// totalCount counts it.
func LostNode() Fault { return Fault{LostNodes: 1} }

// PartialError is an error of the given type beside GraphQL's data.
func PartialError(kind string) Fault { return Fault{Error: kind} }

// spoils tells whether the endpoint does its work, and the fault is in the
// answer.
func (f Fault) spoils() bool { return f.NullNodes > 0 || f.LostNodes > 0 || f.Error != "" }

// spoil does to the nodes of a page what the fault says.
func (f Fault) spoil(nodes []*object) []*object {
	nodes = nodes[:max(0, len(nodes)-f.LostNodes)]
	clear(nodes[:min(f.NullNodes, len(nodes))])
	return nodes
}
