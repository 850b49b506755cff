// Units that share a channel's reads. Each has a buffer, and what they ask for goes on in pieces of at most 16 lines for
// which there is room in it, in turn: a unit that takes its lines late, or asks for many, holds up no other.
`default_nettype none
module acc_rd_mux #(
  parameter int unsigned Clients = 2,
  parameter logic [Clients*16-1:0] Depths = {Clients{16'd64}},  // lines of each buffer: powers of two, at least Piece
  parameter int unsigned Piece = 16,                            // a power of two
  parameter int unsigned Outstanding = 32                       // pieces under way, a power of two
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic [Clients-1:0]     rq_valid_i,
  output logic [Clients-1:0]     rq_ready_o,
  input  logic [Clients*24-1:0]  rq_line_i,
  input  logic [Clients*16-1:0]  rq_count_i,
  output logic [Clients-1:0]     rd_valid_o,
  input  logic [Clients-1:0]     rd_ready_i,
  output logic [Clients*512-1:0] rd_data_o,
  // towards the channel
  output logic                   rq_valid_o,
  input  logic                   rq_ready_i,
  output logic [23:0]            rq_line_o,
  output logic [15:0]            rq_count_o,
  input  logic                   rd_valid_i,
  output logic                   rd_ready_o,
  input  logic [511:0]           rd_data_i
);
  localparam int unsigned PlaceW = $clog2(Piece), ClientW = Clients == 1 ? 1 : $clog2(Clients);

  logic [Clients-1:0]            wants;
  logic [Clients*24-1:0]         lines;
  logic [Clients*(PlaceW+1)-1:0] pieces;
  logic [ClientW-1:0]            turn_q, chosen, owner;
  logic                          issue, order_room, due, taken;
  logic [PlaceW:0]               beats;
  logic [PlaceW-1:0]             all_but_one, last, beat_q;
  logic [Clients-1:0]            room;

  // The first that wants one, from turn_q on.
  always_comb begin
    chosen = turn_q;
    for (int unsigned k = 1; k <= Clients; k++) if (wants[(32'(turn_q) + Clients - k) % Clients])
      chosen = ClientW'((32'(turn_q) + Clients - k) % Clients);
  end
  assign beats       = pieces[chosen*(PlaceW+1) +: PlaceW+1];
  assign all_but_one = PlaceW'(beats - 1'b1);
  assign issue       = wants[chosen] && order_room && (!rq_valid_o || rq_ready_i);
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      turn_q     <= '0;
      rq_valid_o <= 1'b0;
    end else begin
      if (issue) turn_q <= chosen == ClientW'(Clients - 1) ? '0 : chosen + 1'b1;
      rq_valid_o <= issue || (rq_valid_o && !rq_ready_i);
    end
    if (issue) begin
      rq_line_o  <= lines[chosen*24 +: 24];
      rq_count_o <= 16'(beats);
    end
  end

  // Whose the lines are that come.
  acc_fifo #(.Width(ClientW + PlaceW), .Depth(Outstanding)) u_order (
      .clk_i, .rst_ni, .in_valid_i(issue), .in_ready_o(order_room), .in_data_i({chosen, all_but_one}),
      .out_valid_o(due), .out_ready_i(taken && beat_q == last), .out_data_o({owner, last}));
  assign rd_ready_o = due && room[owner];
  assign taken      = rd_valid_i && rd_ready_o;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) beat_q <= '0;
    else if (taken) beat_q <= beat_q == last ? '0 : beat_q + 1'b1;
  end

  for (genvar c = 0; c < Clients; c++) begin : gen_client
    localparam int unsigned Depth = 32'(Depths[c*16 +: 16]), FreeW = $clog2(Depth + 1);
    logic [23:0]      line_q;
    logic [15:0]      left_q;
    logic [FreeW-1:0] free_q;  // lines of the buffer that nothing under way will fill
    logic [PlaceW:0]  to_boundary, piece;
    logic             mine, asked;
    assign to_boundary = (PlaceW + 1)'(Piece) - {1'b0, line_q[PlaceW-1:0]};
    assign piece       = left_q < 16'(to_boundary) ? left_q[PlaceW:0] : to_boundary;
    assign mine        = issue && chosen == ClientW'(c);
    assign wants[c]    = left_q != '0 && 16'(free_q) >= 16'(piece);
    assign asked       = rq_valid_i[c] && rq_ready_o[c];

    assign rq_ready_o[c]                      = left_q == '0 || (mine && left_q == 16'(piece));
    assign lines[c*24 +: 24]                  = line_q;
    assign pieces[c*(PlaceW+1) +: (PlaceW+1)] = piece;
    always_ff @(posedge clk_i) begin
      if (asked) line_q <= rq_line_i[c*24 +: 24];
      else if (mine) line_q <= line_q + 24'(piece);
      if (!rst_ni) begin
        left_q <= '0;
        free_q <= FreeW'(Depth);
      end else begin
        if (asked) left_q <= rq_count_i[c*16 +: 16];
        else if (mine) left_q <= left_q - 16'(piece);
        free_q <= free_q - (mine ? FreeW'(piece) : '0) + FreeW'(rd_valid_o[c] && rd_ready_i[c]);
      end
    end
    acc_ram_fifo #(.Width(512), .Depth(Depth)) u_lines (
        .clk_i, .rst_ni, .in_valid_i(taken && owner == ClientW'(c)), .in_ready_o(room[c]), .in_data_i(rd_data_i),
        .out_valid_o(rd_valid_o[c]), .out_ready_i(rd_ready_i[c]), .out_data_o(rd_data_o[c*512 +: 512]));
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) rd_valid_i && due |-> rd_ready_o);
`endif
endmodule
`default_nettype wire
